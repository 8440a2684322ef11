"""What a reference knows of its rows as wholes, and what a window's rows say against it.

Learned from a sample of rows: how far a row lies from the cloud of the others, which becomes columns of their
own (*derived columns*), judged like any other; how numeric columns go together; and the mean prediction in
every bin of every column, from which follows where a change of the predictions comes from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil, log2

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from detectors.binning import Binning, CategoricalBins, NumericBins
from detectors.correlation import Correlations
from detectors.cross_counts import CrossCounts, Outcome
from detectors.embedding import EmbeddingModel
from detectors.gram import Ellipsoid, Gram, NormalScores
from detectors.prepared import Prepared
from detectors.profile import choose_binning, moments, profile_batch
from detectors.sample import Sample
from detectors.tensor import FloatArray, IntArray
from schemas.batch import CODE_MISSING, INVALID, MISSING, OK, Batch, Categories, with_kinds
from schemas.column import DISTANCE, RECONSTRUCTION_ERROR, ColumnSpec, Kind, Source
from schemas.decoding import msgpack_decoder
from schemas.errors import ProfileError, UnusableReference

FEWEST_ROWS = 200
MOST_LEARNED = 16_384  # rows of the whole reference
MOST_IN_WINDOWS = 131_072  # rows of all its windows together
_ALWAYS_MS = 1 << 62
_DISTANCE_UNIT = 64  # distances are rounded, so that the last digits of a processor's sums do not matter
_VECTOR_UNIT = 1 << 16
_OUTCOME_BITS = 16
_FARTHEST_OUTCOME = 16.0  # times the largest of the reference


class _State(msgspec.Struct, array_like=True):
    binning: Binning
    counts: bytes
    windows: bytes
    kept_groups: int
    deviations: list[float]
    outcome: Outcome | None
    cross: bytes
    gram: bytes
    axis_counts: bytes
    correlations: bytes
    embeddings: dict[str, bytes]
    groups: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Together:
    """What the sampled rows of a window say.

    Parameters
    ----------
    counts : IntArray
        ``[groups, bins]``: on the bins of the derived columns.
    cross : CrossCounts
        Their predictions by bin and segment.
    gram : Gram
        How their numeric features go together.
    """

    counts: IntArray
    cross: CrossCounts
    gram: Gram

    @property
    def rows(self) -> int:
        """Number of sampled rows."""
        return self.gram.rows


@dataclass(frozen=True)
class Relations:
    """What a reference knows of its rows as wholes.

    Parameters
    ----------
    base : Binning
        Bins of the reference's own columns.
    derived : Binning
        Bins of the derived columns; the same segments.
    counts : IntArray
        ``[groups, bins]``: the reference's sampled rows on the bins of the derived columns.
    windows : IntArray
        ``[windows, kept groups, bins]``: those of each of its windows.
    deviations : FloatArray
        Standard deviation of each derived column; nan for one of classes.
    outcome : Outcome or None
        Which number stands for the prediction; None if none does.
    cross : CrossCounts
    gram : Gram
    correlations : Correlations or None
        Pairs of columns; None without any that vary together.
    embeddings : mapping of str to EmbeddingModel
        Of columns of vectors.
    groups : tuple of (str, int)
        How many of the derived columns are of rows (``""``) and of each column of vectors, in order.
    """

    base: Binning
    derived: Binning
    counts: IntArray
    windows: IntArray
    deviations: FloatArray
    outcome: Outcome | None
    cross: CrossCounts
    gram: Gram
    correlations: Correlations | None = None
    embeddings: Mapping[str, EmbeddingModel] = field(default_factory=dict)
    groups: tuple[tuple[str, int], ...] = ()

    @classmethod
    def learn(
        cls,
        base: Binning,
        counts: IntArray,
        whole: Sample,
        windows: Mapping[int, Sample],
        *,
        kept_groups: int,
        positive: str | None = None,
    ) -> Relations | None:
        """Learn from the rows of a reference.

        Parameters
        ----------
        base : Binning
            Bins of the reference.
        counts : IntArray
            ``[bins]``: all its rows on them.
        whole : Sample
            Of all its rows.
        windows : mapping of int to Sample
            Of each of its windows, by start.
        kept_groups : int
            Groups whose counts are kept for each window.
        positive : str, optional
            The class that matters, for a model without scores; found if left out.

        Returns
        -------
        Relations or None
            None if fewer than 200 rows were sampled.
        """
        rows = None if whole.batch is None else with_kinds(whole.batch, _kinds(base))
        if rows is None or len(rows) < FEWEST_ROWS:
            return None
        new = cls._empty(base, counts, positive)
        prepared = Prepared(rows, base, _ALWAYS_MS)
        new.gram.add(prepared.codes)
        new._add_outcomes(new.cross, prepared)
        share = max(1, MOST_IN_WINDOWS // max(len(windows), 1))
        few = [_at_most(sample, share) for sample in windows.values()]
        z = new.gram.scores.of_codes(prepared.codes)
        grams = [new.of(sample).gram for sample in few]
        pairs = Correlations.learn(new.gram, z, grams, _leading(new.gram))
        new = replace(new, correlations=pairs, embeddings=_embeddings(base, whole))
        return new._with_derived(prepared, whole, few, kept_groups)

    @classmethod
    def _empty(cls, base: Binning, counts: IntArray, positive: str | None) -> Relations:
        """Nothing but what the bins say."""
        return cls(
            base=base,
            derived=Binning((), (), base.segments),
            counts=np.zeros((len(base.groups), 0), np.int64),
            windows=np.zeros((0, 1, 0), np.int64),
            deviations=np.zeros(0),
            outcome=Outcome.of(base.columns, positive if positive is not None else _positive(base)),
            cross=CrossCounts(base),
            gram=Gram(NormalScores.of(base, counts, Source.FEATURE)),
        )

    def _with_derived(
        self, prepared: Prepared, whole: Sample, windows: Sequence[Sample], kept_groups: int
    ) -> Relations:
        """Choose bins for the derived columns, and count the reference and its windows on them."""
        profiles = {}
        for group, batch in self._groups(prepared, whole).items():
            found = profile_batch(batch, _ALWAYS_MS)
            if found and found[0].summaries:
                profiles[group] = found[0]
        if not profiles:
            return self
        parts = [choose_binning(profile, (), 0) for profile in profiles.values()]
        derived = Binning(
            tuple(spec for part in parts for spec in part.columns),
            tuple(bins for part in parts for bins in part.bins),
            self.base.segments,
        )
        sizes = tuple((group, len(part.columns)) for group, part in zip(profiles, parts, strict=True))
        ready = replace(self, derived=derived, groups=sizes)
        of_windows = [ready.count(sample)[:kept_groups] for sample in windows]
        none = np.zeros((0, kept_groups, int(derived.offsets[-1])), np.int64)
        deviations = [
            moments(profile, part)[1] for profile, part in zip(profiles.values(), parts, strict=True)
        ]
        return replace(
            ready,
            counts=ready.count(whole),
            windows=np.stack(of_windows) if of_windows else none,
            deviations=np.concatenate(deviations),
        )

    def of(self, sample: Sample) -> Together:
        """Look at the rows of a window."""
        cross, gram = CrossCounts(self.base), Gram(self.gram.scores)
        batch = sample.batch
        if batch is None:
            return Together(np.zeros_like(self.counts), cross, gram)
        prepared = Prepared(with_kinds(batch, _kinds(self.base)), self.base, _ALWAYS_MS)
        gram.add(prepared.codes)
        self._add_outcomes(cross, prepared)
        return Together(self._count(prepared, sample), cross, gram)

    def count(self, sample: Sample) -> IntArray:
        """Count rows on the bins of the derived columns, ``[groups, bins]``."""
        batch = sample.batch
        if batch is None:
            return np.zeros((len(self.base.groups), int(self.derived.offsets[-1])), np.int64)
        rows = with_kinds(batch, _kinds(self.base))
        return self._count(Prepared(rows, self.base, _ALWAYS_MS), sample)

    def _count(self, prepared: Prepared, sample: Sample) -> IntArray:
        rows, first = self._groups(prepared, sample), 0
        parts = [np.zeros((len(self.base.groups), 0), np.int64)]
        for group, columns in self.groups:
            mine = slice(first, first + columns)
            first += columns
            binning = Binning(self.derived.columns[mine], self.derived.bins[mine], self.derived.segments)
            if group in rows:
                counted = Prepared(rows[group], binning, _ALWAYS_MS)
                parts.append(
                    sum((counted.counts(section) for section in counted.sections), _no_rows(binning))
                )
            else:
                parts.append(_no_rows(binning))
        return np.concatenate(parts, axis=1)

    def _groups(self, prepared: Prepared, sample: Sample) -> dict[str, Batch]:
        """Derived columns of rows: of all sampled ones, and by vector column of those with their lists."""
        found = {"": self._of_rows(prepared)}
        for name, model in self.embeddings.items():
            kept = sample.lists(name)
            if kept is not None and len(kept[0]):
                found[name] = _of_vectors(name, model, *kept)
        return found

    def _of_rows(self, prepared: Prepared) -> Batch:
        batch = prepared.batch
        specs: list[ColumnSpec] = []
        values: list[FloatArray] = []
        if len(self.gram.scores.columns) >= 2:
            cloud = self._cloud
            specs.append(ColumnSpec(DISTANCE, Kind.NUMERIC, Source.DERIVED))
            values.append(_rounded(cloud.mahalanobis(prepared.codes)))
            if cloud.leading < len(cloud.variances):
                specs.append(ColumnSpec(RECONSTRUCTION_ERROR, Kind.NUMERIC, Source.DERIVED))
                values.append(_rounded(cloud.reconstruction_error(prepared.codes)))
        shape = (len(specs), len(batch))
        return Batch(
            event_ms=np.zeros(len(batch), np.int64),
            numeric=tuple(specs),
            numbers=np.vstack(values) if values else np.zeros(shape),
            status=np.zeros(shape, np.uint8),
            segments=batch.segments,
        )

    @cached_property
    def _cloud(self) -> Ellipsoid:
        return Ellipsoid.of(self.gram)

    def _add_outcomes(self, cross: CrossCounts, prepared: Prepared) -> None:
        if self.outcome is None:
            return
        values = self.outcome.values(prepared.batch)
        unit = self._outcome_unit
        farthest = _FARTHEST_OUTCOME * unit * 2**_OUTCOME_BITS
        with np.errstate(invalid="ignore"):
            values = np.rint(np.clip(values, -farthest, farthest) / unit) * unit
        cross.add(prepared.codes, values, [group for _, group in prepared.segment_groups])

    @cached_property
    def _outcome_unit(self) -> float:
        """A power of two that ŷ is rounded to a multiple of: sums of such numbers are exact in any order."""
        if self.outcome is None or self.outcome.category is not None:
            return 1.0
        bins = self.base.bins[self.base.index[self.outcome.column]]
        largest = max(abs(bins.lowest), abs(bins.highest)) if isinstance(bins, NumericBins) else 1.0
        return float(2.0 ** (ceil(log2(min(max(largest, 1e-200), 1e100))) - _OUTCOME_BITS))

    # --- bytes ----------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """Serialise; part of the bytes of a reference, which name the version."""
        state = _State(
            self.derived,
            _pack(self.counts),
            _pack(self.windows),
            self.windows.shape[1],
            self.deviations.tolist(),
            self.outcome,
            self.cross.raw(),
            self.gram.raw(),
            self.gram.scores.table.astype("<i2").tobytes(),
            b"" if self.correlations is None else self.correlations.raw(),
            {name: model.raw() for name, model in self.embeddings.items()},
            self.groups,
        )
        return msgspec.msgpack.encode(state, order="deterministic")

    @classmethod
    def from_bytes(cls, data: bytes, base: Binning) -> Relations:
        """Read what `to_bytes` wrote.

        Raises
        ------
        UnusableReference
            If the bytes are damaged or do not belong to the bins.
        """
        try:
            return cls._from_state(msgpack_decoder(_State).decode(data), base)
        except (msgspec.MsgspecError, ProfileError, ValueError) as problem:
            msg = f"damaged reference: {problem}"
            raise UnusableReference(msg) from problem

    @classmethod
    def _from_state(cls, state: _State, base: Binning) -> Relations:
        bins = int(state.binning.offsets[-1])
        table = np.frombuffer(state.axis_counts, "<i2").astype(np.int16)
        scores = NormalScores.from_table(base, table)
        return cls(
            base,
            state.binning,
            _unpack(state.counts).reshape(len(base.groups), bins),
            _unpack(state.windows).reshape(-1, state.kept_groups, bins)
            if bins
            else np.zeros((0, state.kept_groups, 0), np.int64),
            np.array(state.deviations, np.float64),
            state.outcome,
            CrossCounts.from_raw(state.cross, base),
            Gram.from_raw(state.gram, scores),
            Correlations.from_raw(state.correlations, scores) if state.correlations else None,
            {name: EmbeddingModel.from_raw(raw) for name, raw in state.embeddings.items()},
            state.groups,
        )


def _kinds(base: Binning) -> dict[str, Kind]:
    return {spec.name: spec.kind for spec in base.columns}


def _positive(base: Binning) -> str | None:
    """The class whose share is looked at: ``1`` or ``true``, else the rarer of two."""
    for spec, bins in zip(base.columns, base.bins, strict=True):
        if spec.source is Source.PREDICTION and isinstance(bins, CategoricalBins):
            named = next((name for name in ("1", "true") if name in bins.top), None)
            return named or (bins.top[1] if len(bins.top) == 2 else None)
    return None


def _embeddings(base: Binning, whole: Sample) -> dict[str, EmbeddingModel]:
    vectors = (spec.name for spec in base.columns if spec.kind is Kind.VECTOR)
    models = {name: _embedding(whole, name) for name in vectors}
    return {name: model for name, model in models.items() if model is not None}


def _embedding(whole: Sample, name: str) -> EmbeddingModel | None:
    """What the sampled vectors of a column look like; None if there are too few, or none of one length."""
    kept = whole.lists(name)
    if kept is None:
        return None
    lengths = kept[1].value_lengths().drop_null().to_numpy(zero_copy_only=False)
    if len(lengths) < FEWEST_ROWS:
        return None
    usual = int(np.bincount(lengths).argmax())
    vectors = kept[1].filter(pc.equal(kept[1].value_lengths(), usual))
    flat = vectors.flatten().to_numpy(zero_copy_only=False).reshape(-1, usual)
    if not usual or np.isfinite(flat).all(axis=1).sum() < FEWEST_ROWS:
        return None
    return EmbeddingModel.fit(flat, seed=0)


def _of_vectors(name: str, model: EmbeddingModel, rows: Batch, lists: pa.ListArray) -> Batch:
    """Derived columns of vectors: ``name[norm]``, ``name[cluster]`` and so on."""
    found = model.columns(model.matrix(lists))
    numeric = [column for column in found if column != "cluster"]
    values = np.stack([np.asarray(found[column], np.float64) for column in numeric])
    is_there = ~np.isnan(values)
    absent = np.where(lists.is_null().to_numpy(zero_copy_only=False), np.uint8(MISSING), np.uint8(INVALID))
    clusters = np.asarray(found["cluster"], np.int32)
    clusters = np.where((clusters < 0) & (absent == MISSING), np.int32(CODE_MISSING), clusters)
    return Batch(
        event_ms=np.zeros(len(rows), np.int64),
        numeric=tuple(ColumnSpec(f"{name}[{column}]", Kind.NUMERIC, Source.DERIVED) for column in numeric),
        numbers=np.where(is_there, _rounded(values, _VECTOR_UNIT), 0.0),
        status=np.where(is_there, np.uint8(OK), absent),
        categorical=(ColumnSpec(f"{name}[cluster]", Kind.CATEGORICAL, Source.DERIVED),),
        categories=(Categories(clusters, pa.array(model.cluster_names, pa.string())),),
        segments=rows.segments,
    )


def _no_rows(binning: Binning) -> IntArray:
    return np.zeros((len(binning.groups), int(binning.offsets[-1])), np.int64)


def _leading(gram: Gram) -> IntArray:
    """Columns, those first that go with another the most."""
    strength = np.abs(gram.correlation - np.eye(len(gram.scores.columns)))
    return np.argsort(-strength.max(axis=1, initial=0.0), kind="stable")


def _at_most(sample: Sample, rows: int) -> Sample:
    """Fewer rows of a sample, by chance as well."""
    smaller = Sample(min(rows, sample.most))
    smaller.merge(sample)
    return smaller


def _rounded(distances: FloatArray, unit: int = _DISTANCE_UNIT) -> FloatArray:
    return np.asarray(np.rint(distances * unit) / unit)


def _pack(values: NDArray[np.int64]) -> bytes:
    return values.astype("<i8").tobytes()


def _unpack(data: bytes) -> IntArray:
    return np.frombuffer(data, "<i8").astype(np.int64)
