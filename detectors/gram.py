"""Which columns move together: a mergeable Gram matrix of normal scores, and the cloud of rows behind it.

A value counts by the bin that it lies in: its *normal score* is Φ⁻¹ of the bin's mid-rank in the reference,
cut at ±3 and rounded to a multiple of 1/64. Sums of such scores, of their products and of the squares of
those are sums of whole numbers: they are exact, so that any split of the rows and any order of merging gives
the same matrix, bit by bit. A value that is missing or invalid has no score; every pair of columns is summed
over the rows that have both.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from scipy import special

from detectors.binning import Binning
from detectors.sealed import seal_raw, unseal_raw
from detectors.tensor import FloatArray, IntArray
from schemas.column import Kind, Source
from schemas.decoding import msgpack_decoder
from schemas.errors import ProfileError, UsageError

UNIT = 64  # scores are kept in 64ths
CLIP = 3.0
LARGEST_BLOCK = 128
_ABSENT = np.int16(-(2**15))
_ROWS_AT_ONCE = 1 << 11  # sums of so many products are exact in 64-bit floats, and fit the cache
_MAGIC = b"DLG1"

Codes = npt.NDArray[np.integer]
_T = TypeVar("_T")


@dataclass(frozen=True)
class NormalScores:
    """The normal score of every bin of the numeric columns of a reference.

    Parameters
    ----------
    columns : tuple of str
        Names of the d columns with scores.
    rows : IntArray
        ``[d]``: their places among the columns of the binning.
    table : int16 array [bins]
        Score of each bin in 64ths, for the bins of all columns side by side; the lowest number for none.

    Examples
    --------
    >>> from detectors.binning import NumericBins
    >>> from schemas.column import ColumnSpec
    >>> binning = Binning((ColumnSpec("x", Kind.NUMERIC),), (NumericBins((0.0, 1.0), 0.0, 2.0),))
    >>> scores = NormalScores.of(binning, np.array([25, 50, 25, 7, 0]))  # < 0, [0, 1), >= 1, missing, invalid
    >>> scores.of_codes(np.array([[0, 1, 2, 3]]))
    array([[-1.15625,  0.     ,  1.15625,      nan]])
    """

    columns: tuple[str, ...]
    rows: IntArray
    table: npt.NDArray[np.int16]

    @classmethod
    def of(cls, binning: Binning, counts: IntArray, source: Source | None = None) -> NormalScores:
        """Take scores from the counts of a reference.

        Parameters
        ----------
        binning : Binning
        counts : IntArray
            ``[bins]``: all rows of the reference.
        source : Source, optional
            Only columns that come from there.

        Notes
        -----
        Φ⁻¹((rows below + half the rows inside)/rows), counting the rows on the column's axis only. A column
        without such rows, or with a single score for all of them, has nothing to go with others and is left
        out.
        """
        table = np.full(int(binning.offsets[-1]), _ABSENT)
        found: list[int] = []
        for i, spec in enumerate(binning.columns):
            inside = slice(int(binning.offsets[i]), int(binning.offsets[i + 1]) - 2)
            rows = counts[inside]
            if spec.kind is not Kind.NUMERIC or np.count_nonzero(rows) < 2:
                continue
            if source is not None and spec.source is not source:
                continue
            ranks = (np.cumsum(rows) - rows / 2) / rows.sum()
            table[inside] = np.rint(np.clip(special.ndtri(ranks), -CLIP, CLIP) * UNIT)
            found.append(i)
        columns = tuple(binning.columns[i].name for i in found)
        return cls(columns, np.array(found, np.int64), table)

    @classmethod
    def from_table(cls, binning: Binning, table: npt.NDArray[np.int16]) -> NormalScores:
        """Take over scores that were stored.

        Raises
        ------
        ProfileError
            If they are of other bins.
        """
        if len(table) != int(binning.offsets[-1]):
            msg = f"scores of {len(table)} bins ({int(binning.offsets[-1])} are expected)"
            raise ProfileError(msg)
        ends = zip(binning.offsets[:-1].tolist(), binning.offsets[1:].tolist(), strict=True)
        found = [i for i, (first, last) in enumerate(ends) if (table[first:last] != _ABSENT).any()]
        return cls(tuple(binning.columns[i].name for i in found), np.array(found, np.int64), table)

    def of_codes(self, codes: Codes) -> FloatArray:
        """Scores ``[d, n]`` of rows; nan for a value that has none.

        Parameters
        ----------
        codes : integer array [columns, n]
            Flat bin of each value, a row for each column of the binning.
        """
        whole = self.table[codes[self.rows]]
        return np.where(whole == _ABSENT, np.nan, whole / UNIT)

    def of_bins(self, offsets: IntArray) -> FloatArray:
        """Scores ``[d, bins]`` of a column's own bins; nan for those of other columns and without a score.

        Parameters
        ----------
        offsets : IntArray
            First bin of each column of the binning, and the number of all bins.
        """
        places = np.arange(len(self.table))
        own = (places >= offsets[self.rows][:, None]) & (places < offsets[self.rows + 1][:, None])
        return np.where(own & (self.table != _ABSENT), self.table / UNIT, np.nan)

    @property
    def fingerprint(self) -> int:
        """A number that tells scores of different references apart."""
        return zlib.crc32(self.table.astype("<i2").tobytes(), zlib.crc32("\0".join(self.columns).encode()))


class _State(msgspec.Struct, array_like=True):
    fingerprint: int
    rows: int
    parts: tuple[bytes, bytes, bytes, bytes]


class Gram:
    """Sums, products and squared products of normal scores of some rows.

    Parameters
    ----------
    scores : NormalScores
        Of d columns. Up to 128 make one block; more are cut into blocks of equal width, and only pairs within
        a block are kept.

    Attributes
    ----------
    rows : int
    both : IntArray
        ``[blocks, w, w]``: rows that have both scores.
    sums : IntArray
        Σ zᵢ over the rows that have zᵢ and zⱼ, in 64ths.
    products : IntArray
        Σ zᵢzⱼ, in 64ths squared.
    squares : IntArray
        Σ (zᵢzⱼ)², in 64ths to the fourth.

    Guarantees
    ----------
    All numbers are exact up to 7·10⁹ rows: any split of the rows and any order of merging gives the same.
    Memory is 32·w² bytes a block, 0.5 MB for 128 columns.
    """

    def __init__(self, scores: NormalScores) -> None:
        self.scores = scores
        self.rows = 0
        d = len(scores.columns)
        blocks = max(1, -(-d // LARGEST_BLOCK))
        self._width = -(-d // blocks)
        shape = (blocks, self._width, self._width)
        self.both: IntArray = np.zeros(shape, np.int64)
        self.sums: IntArray = np.zeros(shape, np.int64)
        self.products: IntArray = np.zeros(shape, np.int64)
        self.squares: IntArray = np.zeros(shape, np.int64)

    def add(self, codes: Codes) -> None:
        """Add rows.

        Parameters
        ----------
        codes : integer array [columns, n]
            Flat bin of each value, a row for each column of the binning.

        Raises
        ------
        UsageError
            If a column's row is missing.
        """
        if codes.ndim != 2 or len(codes) <= self.scores.rows.max(initial=-1):
            msg = f"codes: shape {codes.shape} (a row for each column of the binning is expected)"
            raise UsageError(msg)
        self.rows += codes.shape[1]
        for first in range(0, codes.shape[1], _ROWS_AT_ONCE):
            self._add_few(codes[:, first : first + _ROWS_AT_ONCE])

    def _add_few(self, codes: Codes) -> None:
        whole = self.scores.table[codes[self.scores.rows]]
        absent = whole == _ABSENT
        z = self._blocks(np.where(absent, np.int16(0), whole).astype(np.float64))
        is_there = np.ones(len(whole), bool) if not absent.any() else ~absent.any(axis=1)
        if is_there.all():
            both = np.full(self.both.shape, float(codes.shape[1]))
            sums = np.broadcast_to(z.sum(axis=2)[:, :, None], self.sums.shape)
        else:
            present = self._blocks((~absent).astype(np.float64))
            both, sums = present @ present.mT, z @ present.mT
        self.both += both.astype(np.int64)
        self.sums += sums.astype(np.int64)
        self.products += (z @ z.mT).astype(np.int64)
        z *= z
        self.squares += (z @ z.mT).astype(np.int64)
        self._clear_padding()

    def _blocks(self, values: FloatArray) -> FloatArray:
        blocks, width = self.both.shape[:2]
        padding = blocks * width - len(values)
        if padding:
            values = np.concatenate([values, np.zeros((padding, values.shape[1]))])
        return values.reshape(blocks, width, values.shape[1])

    def _clear_padding(self) -> None:
        padding = self.both.shape[0] * self._width - len(self.scores.columns)
        if padding:
            self.both[-1, self._width - padding :] = 0
            self.both[-1, :, self._width - padding :] = 0
            self.sums[-1, :, self._width - padding :] = 0

    def merge(self, *others: Gram) -> None:
        """Add other matrices to this one.

        Raises
        ------
        ProfileError
            If they are not of the scores of the same reference.
        """
        for other in others:
            if other.scores.fingerprint != self.scores.fingerprint:
                msg = "Gram matrices of the scores of different references cannot be added"
                raise ProfileError(msg)
            self.rows += other.rows
            for mine, theirs in zip(self._parts, other._parts, strict=True):
                mine += theirs

    @property
    def _parts(self) -> tuple[IntArray, IntArray, IntArray, IntArray]:
        return self.both, self.sums, self.products, self.squares

    @property
    def means(self) -> FloatArray:
        """Mean score ``[d]`` of each column over the rows that have one; 0 without any."""
        n, sums = (np.diagonal(part, axis1=1, axis2=2).ravel() for part in (self.both, self.sums))
        return np.asarray(sums / np.maximum(n, 1) / UNIT)[: len(self.scores.columns)]

    @property
    def covariance(self) -> FloatArray:
        """Covariance ``[d, d]`` of the scores, pair by pair over the rows that have both; 0 across blocks."""
        n = np.maximum(self.both, 1)
        within = self.products / n - (self.sums / n) * (self.sums.mT / n)
        d = len(self.scores.columns)
        full = np.zeros((len(n) * self._width,) * 2)
        for i, block in enumerate(within):
            part = slice(i * self._width, (i + 1) * self._width)
            full[part, part] = block
        return full[:d, :d] / UNIT**2

    @property
    def correlation(self) -> FloatArray:
        """Pearson correlation ``[d, d]`` of the scores; 0 where a column does not vary."""
        covariance = self.covariance
        spread = np.sqrt(np.maximum(np.diag(covariance), 0))
        scale = np.outer(spread, spread)
        found = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
        return np.asarray(np.clip(found, -1, 1))

    def to_bytes(self) -> bytes:
        """Serialise; versioned and compressed."""
        return seal_raw(_MAGIC, self.raw())

    def raw(self) -> bytes:
        """Serialise as a part of something else. Only one half of what is symmetric is written."""
        upper = np.triu_indices(self._width)
        both, products, squares = (
            part[:, upper[0], upper[1]] for part in (self.both, self.products, self.squares)
        )
        n, sums, first, second = (
            part.astype("<i8").tobytes() for part in (both, self.sums, products, squares)
        )
        return msgspec.msgpack.encode(_State(self.scores.fingerprint, self.rows, (n, sums, first, second)))

    @classmethod
    def from_bytes(cls, data: bytes, scores: NormalScores) -> Gram:
        """Read what `to_bytes` wrote.

        Raises
        ------
        ProfileError
            If the bytes are damaged, or of the scores of another reference.
        """
        return cls.from_raw(unseal_raw(_MAGIC, data, "Gram matrix", ProfileError), scores)

    @classmethod
    def from_raw(cls, data: bytes, scores: NormalScores) -> Gram:
        """Read what `raw` wrote; see `from_bytes`."""
        try:
            state = msgpack_decoder(_State).decode(data)
        except msgspec.MsgspecError as problem:
            msg = f"damaged Gram matrix: {problem}"
            raise ProfileError(msg) from problem
        new = cls(scores)
        upper = np.triu_indices(new._width)
        sizes = [8 * len(new.both) * len(upper[0])] * 4
        sizes[1] = new.sums.nbytes
        if state.fingerprint != scores.fingerprint or [len(part) for part in state.parts] != sizes:
            msg = "a Gram matrix of the scores of another reference"
            raise ProfileError(msg)
        new.rows = state.rows
        for part, raw in zip(new._parts, state.parts, strict=True):
            numbers = np.frombuffer(raw, "<i8").astype(np.int64)
            if part is new.sums:
                part[:] = numbers.reshape(part.shape)
                continue
            half = numbers.reshape(len(part), -1)
            part[:, upper[0], upper[1]] = half
            part[:, upper[1], upper[0]] = half
        return new


@dataclass(frozen=True)
class Ellipsoid:
    """The cloud of a reference's rows in the space of normal scores, fixed.

    Parameters
    ----------
    scores : NormalScores
    means : FloatArray
        ``[d]``.
    axes : FloatArray
        ``[d, d]``: orthonormal, a column each, the longest first.
    variances : FloatArray
        ``[d]``: along each axis.
    leading : int
        Axes that are kept by `reconstruction_error`.

    Examples
    --------
    >>> from detectors.binning import NumericBins
    >>> from schemas.column import ColumnSpec
    >>> bins = NumericBins((0.0, 1.0), 0.0, 2.0)
    >>> binning = Binning((ColumnSpec("x", Kind.NUMERIC), ColumnSpec("y", Kind.NUMERIC)), (bins, bins))
    >>> rows = np.array([[0, 0, 1, 1, 2, 2], [5, 6, 6, 6, 6, 7]])  # the bins of y come after the five of x
    >>> gram = Gram(NormalScores.of(binning, np.bincount(rows.ravel(), minlength=10)))
    >>> gram.add(rows)
    >>> cloud = Ellipsoid.of(gram)
    >>> cloud.mahalanobis(np.array([[0, 0], [5, 7]])).round(1)  # low together, and low with high
    array([1.7, 3.9])
    """

    scores: NormalScores
    means: FloatArray
    axes: FloatArray
    variances: FloatArray
    leading: int

    @classmethod
    def of(cls, gram: Gram, *, explained: float = 0.9, smallest: float = 0.01) -> Ellipsoid:
        """Fit to the rows of a reference.

        Parameters
        ----------
        gram : Gram
        explained : float
            Share of the variance, above 0 and up to 1, that the leading axes hold.
        smallest : float
            Least variance along an axis, above 0: columns that always agreed make none, and a row in which
            they differ is then far away, not infinitely far.

        Raises
        ------
        UsageError
            If a parameter is out of range.
        """
        if not 0 < explained <= 1 or not smallest > 0:
            msg = f"explained {explained}, smallest {smallest} (above 0 up to 1, and above 0 are allowed)"
            raise UsageError(msg)
        values, vectors = np.linalg.eigh(gram.covariance)
        values, vectors = values[::-1], vectors[:, ::-1]
        share = np.cumsum(np.maximum(values, 0)) / max(float(np.maximum(values, 0).sum()), 1e-300)
        leading = min(int(np.searchsorted(share, explained - 1e-12)) + 1, len(values))
        return cls(gram.scores, gram.means, vectors, np.maximum(values, smallest), leading)

    def mahalanobis(self, codes: Codes) -> FloatArray:
        """Distance of each row from the middle, in standard deviations along each axis.

        Parameters
        ----------
        codes : integer array [columns, n]
            Flat bin of each value. A value without a score is taken for the mean.

        Returns
        -------
        FloatArray
            ``[n]``: √(Σ (coordinate along the axis)²/variance); of the order of √d.
        """
        return np.asarray(np.sqrt((self._coordinates(codes) ** 2 / self.variances[:, None]).sum(axis=0)))

    def reconstruction_error(self, codes: Codes) -> FloatArray:
        """Distance of each row from the space that the leading axes span; see `mahalanobis`."""
        return np.asarray(np.sqrt((self._coordinates(codes)[self.leading :] ** 2).sum(axis=0)))

    def _coordinates(self, codes: Codes) -> FloatArray:
        centred = self.scores.of_codes(codes) - self.means[:, None]
        return self.axes.T @ np.where(np.isnan(centred), 0.0, centred)
