"""Columns of embeddings: what is watched of a vector of numbers.

A reference fixes a model of its vectors: their mean, the leading axes of their cloud, and up to 32 centres of
clusters. A later vector is then told by its length, its nearest centre, its place along the axes, and how far
it lies from the space that these span; each of these is a column like any other.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.cluster.vq import kmeans2

from detectors.sealed import seal_raw, unseal_raw
from detectors.tensor import BoolArray, FloatArray
from schemas.batch import CODE_INVALID
from schemas.decoding import msgpack_decoder
from schemas.errors import ProfileError, UnusableReference, UsageError

CLUSTERS = 32
AXES = 4
FEWEST_PER_CLUSTER = 10
_MOST_FITTED = 10_000
_LARGEST = 1e30  # longest vector: the model keeps numbers in 32 bits
_MAGIC = b"DLV1"

Floats = npt.NDArray[np.floating]


class _State(msgspec.Struct, array_like=True):
    dimension: int
    mean: bytes
    axes: bytes
    centres: bytes


@dataclass(frozen=True)
class EmbeddingModel:
    """What a reference says of where its vectors lie; fixed.

    Parameters
    ----------
    mean : float32 array [d]
    axes : float32 array [up to 4, d]
        Orthonormal, the longest of the cloud first.
    centres : float32 array [up to 32, d]
        Of clusters, the largest first.

    Guarantees
    ----------
    The same vectors in the same order and the same seed give the same model. What is said of a vector
    depends on that vector alone, up to rounding. A model of 768 numbers takes 114 kB.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> cloud = rng.normal(size=(500, 8)) * 0.1 + np.repeat(np.eye(8)[:2], 250, axis=0)
    >>> model = EmbeddingModel.fit(cloud, seed=1)
    >>> found = model.columns(np.array([np.eye(8)[0], np.full(8, np.nan)]))
    >>> list(found)
    ['norm', 'cluster', 'pc1', 'pc2', 'pc3', 'pc4', 'reconstruction_error']
    >>> found["norm"]
    array([ 1., nan])
    """

    mean: npt.NDArray[np.float32]
    axes: npt.NDArray[np.float32]
    centres: npt.NDArray[np.float32]

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return len(self.mean)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return ("norm", "cluster", *(f"pc{i + 1}" for i in range(len(self.axes))), "reconstruction_error")

    @classmethod
    def fit(cls, vectors: Floats, *, seed: int, clusters: int = CLUSTERS) -> EmbeddingModel:
        """Fit to the vectors of a reference.

        Parameters
        ----------
        vectors : float array [n, d]
            Vectors with a number that is not finite, or longer than 1e30, are left out. Of more than 10,000
            so many are drawn.
        seed : int
            Of the draw and of the first centres.
        clusters : int
            Most centres, 1 or more; there are fewer where there are not 10 vectors for each.

        Raises
        ------
        UnusableReference
            If there is no vector, or vectors have no numbers.
        UsageError
            If `clusters` is below 1.

        References
        ----------
        .. [1] D. Arthur, S. Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.
        """
        if clusters < 1:
            msg = f"clusters: {clusters} (a number of 1 or more is allowed)"
            raise UsageError(msg)
        is_valid, _ = _checked(vectors)
        if not is_valid.any() or not vectors.shape[1]:
            msg = f"embedding: none of {len(vectors)} vectors can be used (all numbers must be finite)"
            raise UnusableReference(msg)
        used = np.asarray(vectors[is_valid], np.float64)
        generator = np.random.default_rng(seed)
        if len(used) > _MOST_FITTED:
            used = used[np.sort(generator.choice(len(used), _MOST_FITTED, replace=False))]
        mean = used.mean(axis=0)
        centres = _centres(used, min(clusters, max(1, len(used) // FEWEST_PER_CLUSTER)), generator)
        return cls(mean.astype(np.float32), _axes(used - mean).astype(np.float32), centres.astype(np.float32))

    def columns(self, vectors: Floats) -> dict[str, npt.NDArray[np.float64] | npt.NDArray[np.int32]]:
        """What is watched of each vector.

        Parameters
        ----------
        vectors : float array [n, any]
            Vectors of another number of numbers are all invalid, as is one with a number that is not finite
            and one longer than 1e30.

        Returns
        -------
        dict of str to array [n]
            ``norm``; ``cluster``, the number of the nearest centre as a code of `schemas.batch.Categories`;
            ``pc1`` … ``pc4``, coordinates along the axes; ``reconstruction_error``, the distance from what
            these coordinates give back. For invalid vectors nan, and ``CODE_INVALID`` for the cluster.
        """
        n = len(vectors)
        found: dict[str, npt.NDArray[np.float64] | npt.NDArray[np.int32]] = {
            name: np.full(n, np.nan) for name in self.names
        }
        found["cluster"] = np.full(n, CODE_INVALID, np.int32)
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            return found
        is_valid, norms = _checked(vectors)
        used = np.asarray(vectors if is_valid.all() else vectors[is_valid], np.float64)
        centred = used - self.mean
        axes = self.axes.astype(np.float64)
        coordinates = centred @ axes.T
        rest = centred - coordinates @ axes
        found["norm"][is_valid] = norms[is_valid]
        found["cluster"][is_valid] = self._nearest(used)
        for i, place in enumerate(coordinates.T):
            found[f"pc{i + 1}"][is_valid] = place
        found["reconstruction_error"][is_valid] = np.sqrt(np.einsum("ij,ij->i", rest, rest))
        return found

    def _nearest(self, used: FloatArray) -> npt.NDArray[np.intp]:
        centres = self.centres.astype(np.float64)
        # |x − c|² without |x|², which is the same for all centres.
        return np.asarray(np.argmin(np.einsum("ij,ij->i", centres, centres) - 2 * used @ centres.T, axis=1))

    @property
    def cluster_names(self) -> tuple[str, ...]:
        """Name of each cluster, the largest of the reference first."""
        return tuple(f"cluster {i:02d}" for i in range(len(self.centres)))

    def matrix(self, lists: pa.ListArray) -> FloatArray:
        """Turn lists into vectors.

        Parameters
        ----------
        lists : Arrow array of lists of numbers [n]

        Returns
        -------
        FloatArray
            ``[n, d]``: nan for null, for a list of another length, and for a null in a list.

        Examples
        --------
        >>> nothing = np.zeros((0, 2), np.float32)
        >>> model = EmbeddingModel(np.zeros(2, np.float32), nothing, nothing)
        >>> model.matrix(pa.array([[1.0, 2.0], [3.0], None]))
        array([[ 1.,  2.],
               [nan, nan],
               [nan, nan]])
        """
        found = np.full((len(lists), self.dimension), np.nan)
        lengths = lists.value_lengths().fill_null(-1).to_numpy(zero_copy_only=False)
        fits = lengths == self.dimension
        if fits.any():
            flat = lists.filter(pa.array(fits)).flatten().cast(pa.float64())
            found[fits] = flat.to_numpy(zero_copy_only=False).reshape(-1, self.dimension)
        return found

    def to_bytes(self) -> bytes:
        """Serialise; versioned and compressed."""
        return seal_raw(_MAGIC, self.raw())

    def raw(self) -> bytes:
        """Serialise as a part of something else."""
        parts = (part.astype("<f4").tobytes() for part in (self.mean, self.axes, self.centres))
        return msgspec.msgpack.encode(_State(self.dimension, *parts))

    @classmethod
    def from_bytes(cls, data: bytes) -> EmbeddingModel:
        """Read what `to_bytes` wrote.

        Raises
        ------
        ProfileError
            If the bytes are damaged or of an unknown version.
        """
        return cls.from_raw(unseal_raw(_MAGIC, data, "model of embeddings", ProfileError))

    @classmethod
    def from_raw(cls, data: bytes) -> EmbeddingModel:
        """Read what `raw` wrote; see `from_bytes`."""
        try:
            state = msgpack_decoder(_State).decode(data)
        except msgspec.MsgspecError as problem:
            msg = f"damaged model of embeddings: {problem}"
            raise ProfileError(msg) from problem
        mean, axes, centres = (
            np.frombuffer(part, "<f4").astype(np.float32) for part in (state.mean, state.axes, state.centres)
        )
        return cls(mean, axes.reshape(-1, state.dimension), centres.reshape(-1, state.dimension))


def _checked(vectors: Floats) -> tuple[BoolArray, FloatArray]:
    """Which vectors can be used, and the length of each."""
    whole = np.asarray(vectors, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(np.einsum("ij,ij->i", whole, whole))
    return np.asarray(norms <= _LARGEST), norms


def _axes(centred: FloatArray) -> FloatArray:
    """Leading axes of a cloud; the number of largest size on each is positive."""
    _, vectors = np.linalg.eigh(centred.T @ centred)
    axes = vectors[:, ::-1].T[: min(AXES, centred.shape[1])]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    return np.asarray(axes * np.where(largest < 0, -1.0, 1.0))


def _centres(used: FloatArray, clusters: int, generator: np.random.Generator) -> FloatArray:
    distinct = np.unique(used[:: max(1, len(used) // 1_000)], axis=0)  # k-means++ needs as many as centres
    clusters = min(clusters, len(distinct))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of clusters that lost their last vector
        centres, labels = kmeans2(
            used.astype(np.float32), clusters, iter=25, minit="++", missing="warn", rng=generator
        )
    sizes = np.bincount(labels, minlength=clusters)
    return np.asarray(centres[np.argsort(-sizes, kind="stable")][: np.count_nonzero(sizes)])
