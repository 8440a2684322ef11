"""Any two ranges or versions of a model side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field
from sqlalchemy import Connection

from detectors.binning import CategoricalBins
from detectors.effects import EffectArrays, compare
from detectors.performance import Realised
from detectors.reference import Reference
from monitor.performance.outcomes import measure_together, read_outcomes
from monitor.web.console.fields import FieldInstant, FieldText
from monitor.web.console.model.performance import SHARES
from monitor.web.console.model.sides import Side, common_reference, side_of
from monitor.web.console.model.view import DAY_MS, ModelAsked, View, view_of
from monitor.web.context import Context
from monitor.web.documents import instant
from monitor.web.parameters import Asked
from monitor.web.problems import Mistake, Refused, not_found
from schemas.column import Source

DEFAULT_DAYS = 30
MOST_BINS = 40
SHOWN_VALUES = 3
COMPARED = frozenset({str(Source.FEATURE), str(Source.PREDICTION), str(Source.SCORE), str(Source.LATENCY)})


class CompareAsked(Asked):
    """Parameters of a comparison."""

    from_a: FieldInstant = Field(
        None, description="Start of the first range; default: 30 days before its end."
    )
    to_a: FieldInstant = Field(None, description="End of the first range; default: where the second begins.")
    from_b: FieldInstant = Field(
        None, description="Start of the second range; default: 30 days before its end."
    )
    to_b: FieldInstant = Field(None, description="End of the second range; default: the newest window.")
    version_a: FieldText = Field(None, description="Version of the first side; default: the champion.")
    version_b: FieldText = Field(None, description="Version of the second side; default: the champion.")
    columns: Literal["all"] | None = Field(None, description="All columns, not the first 60.")


@dataclass(frozen=True)
class BinRow:
    """One bin on both sides."""

    label: str
    share_a: float
    share_b: float
    psi: float


@dataclass(frozen=True)
class ColumnRow:
    """One column on both sides; what is not known is None or empty."""

    name: str
    kind: str
    source: str
    psi: float | None
    psi_debiased: float | None
    means: tuple[float | None, float | None]
    quantiles: tuple[list[float], list[float]]
    values: tuple[list[tuple[str, float]], list[tuple[str, float]]]
    missing: tuple[float | None, float | None]
    bins: list[BinRow]


@dataclass(frozen=True)
class MeasureRow:
    """One measure of performance on both sides, each with its interval."""

    name: str
    values: tuple[float | None, float | None]
    lows: tuple[float | None, float | None]
    highs: tuple[float | None, float | None]

    @property
    def is_share(self) -> bool:
        """Whether it is written in percent."""
        return self.name in SHARES

    @property
    def difference(self) -> float | None:
        """Of the second side to the first."""
        first, second = self.values
        return None if first is None or second is None else second - first

    @property
    def is_apart(self) -> bool:
        """Whether the intervals do not touch: chance alone hardly does that.

        Examples
        --------
        >>> MeasureRow("recall", (0.3, 0.1), (0.25, 0.05), (0.35, 0.15)).is_apart
        True
        >>> MeasureRow("recall", (0.3, 0.1), (0.25, 0.05), (0.35, 0.25)).is_apart
        False
        """
        (low_a, low_b), (high_a, high_b) = self.lows, self.highs
        if low_a is None or low_b is None or high_a is None or high_b is None:
            return False
        return low_a > high_b or low_b > high_a


@dataclass(frozen=True)
class Compared:
    """Two sides, and how far they are apart."""

    view: View
    sides: tuple[Side, Side]
    columns: list[ColumnRow]
    performance: list[MeasureRow]
    labelled: tuple[int, int]
    has_common_bins: bool
    left_out: tuple[int, int]


def comparison_of(context: Context, connection: Connection, model: str, asked: CompareAsked) -> Compared:
    """Merge both sides and compare them, columns by their PSI, largest first.

    Raises
    ------
    Refused
        If there is no such model or version, or a range is empty.
    """
    view = view_of(context, connection, model, ModelAsked())
    known = [row.version for row in view.versions]
    versions = []
    for name, version in (("version_a", asked.version_a), ("version_b", asked.version_b)):
        if version is not None and version not in known:
            raise not_found(version, "version", f"query.{name}", known)
        versions.append(version or view.version)
    (from_a, to_a), (from_b, to_b) = _ranges(view, asked, versions[0] == versions[1])
    sides = (
        side_of(context, connection, model, versions[0], from_a, to_a),
        side_of(context, connection, model, versions[1], from_b, to_b),
    )
    reference = common_reference(context, connection, sides)
    effects = None if reference is None else _effects(reference, sides)
    names = sorted(set(sides[0].columns) | set(sides[1].columns))
    columns = [_column(name, sides, reference, effects) for name in names]
    columns = [one for one in columns if one.source in COMPARED]
    columns.sort(key=lambda one: (one.psi is None, -(one.psi or 0.0), one.name))
    measured = [_measured(context, connection, view, side) for side in sides]
    return Compared(
        view=view,
        sides=sides,
        columns=columns,
        performance=_measures(view, *measured),
        labelled=(measured[0].labelled, measured[1].labelled),
        has_common_bins=reference is not None,
        left_out=(_left_out(sides[0], reference), _left_out(sides[1], reference)),
    )


def _ranges(view: View, asked: CompareAsked, is_one_version: bool) -> tuple[tuple[int, int], tuple[int, int]]:
    to_b = view.newest_ms if asked.to_b is None else asked.to_b
    from_b = to_b - DEFAULT_DAYS * DAY_MS if asked.from_b is None else asked.from_b
    # Two versions are compared on the same events, one version with what was before.
    to_a = (from_b if is_one_version else to_b) if asked.to_a is None else asked.to_a
    from_a = to_a - max(to_b - from_b, view.settings.slice_ms) if asked.from_a is None else asked.from_a
    slice_ms = view.settings.slice_ms
    for name, start, end in (("from_a", from_a, to_a), ("from_b", from_b, to_b)):
        if start >= end:
            what = "the range is empty: it must begin before its end"
            raise Refused(
                422, what, [Mistake(where=f"query.{name}", what=what, allowed=f"before {instant(end)}")]
            )
    return (
        (from_a // slice_ms * slice_ms, -(-to_a // slice_ms) * slice_ms),
        (from_b // slice_ms * slice_ms, -(-to_b // slice_ms) * slice_ms),
    )


def _effects(reference: Reference, sides: tuple[Side, Side]) -> EffectArrays:
    binning = reference.binning
    first, second = (binning.tensor(side.counts[reference.hash]) for side in sides)
    return compare(first, second, binning.layout, reference.deviations)


def _column(
    name: str, sides: tuple[Side, Side], reference: Reference | None, effects: EffectArrays | None
) -> ColumnRow:
    known = next(side.columns[name] for side in sides if name in side.columns)
    both = [side.columns.get(name) for side in sides]
    index = None if reference is None else reference.binning.index.get(name)
    bins: list[BinRow] = []
    psi = debiased = None
    if index is not None and effects is not None and effects.n[index] and effects.m[index]:
        one = effects.stream(index)
        psi, debiased = one.psi, one.psi_debiased
        bins = _bins(reference, effects, index)
    tops = tuple(_top(side, reference, index) for side in sides)
    return ColumnRow(
        name, str(known.kind), known.source, psi, debiased,
        (both[0].mean if both[0] else None, both[1].mean if both[1] else None),
        (both[0].quantiles if both[0] else [], both[1].quantiles if both[1] else []),
        (tops[0], tops[1]),
        (sides[0].missing(name), sides[1].missing(name)),
        bins,
    )  # fmt: skip


def _bins(reference: Reference | None, effects: EffectArrays, index: int) -> list[BinRow]:
    """Bins that hold a row on either side, in order; of very many those that add most."""
    labels = () if reference is None else reference.binning.bins[index].labels()
    found = [
        BinRow(label, float(p), float(q), float(term))
        for label, p, q, term in zip(
            labels,
            effects.reference_share[index],
            effects.share[index],
            effects.psi_terms[index],
            strict=False,
        )
        if p or q
    ]
    if len(found) > MOST_BINS:
        least = sorted((one.psi for one in found), reverse=True)[MOST_BINS - 1]
        found = [one for one in found if one.psi >= least][:MOST_BINS]
    return found


def _top(side: Side, reference: Reference | None, index: int | None) -> list[tuple[str, float]]:
    """The most frequent values of a column of classes, with their shares."""
    if reference is None or index is None or not isinstance(reference.binning.bins[index], CategoricalBins):
        return []
    offsets = reference.binning.offsets
    counts = side.counts[reference.hash][int(offsets[index]) : int(offsets[index + 1])]
    labels, total = reference.binning.bins[index].labels(), int(counts.sum())
    order = np.argsort(-counts, kind="stable")[:SHOWN_VALUES]
    return [(labels[at], float(counts[at] / total)) for at in order.tolist() if counts[at]]


def _measured(context: Context, connection: Connection, view: View, side: Side) -> Realised:
    parts = read_outcomes(connection, view.model, [side.version], side.from_ms, side.to_ms)
    return measure_together(connection, view.settings, parts.values()).realised


def _measures(view: View, first: Realised, second: Realised) -> list[MeasureRow]:
    options = view.settings.performance
    leading = [] if options is None else [options.metric]
    names = dict.fromkeys([*leading, *first.measures, *second.measures])
    found = []
    for name in names:
        both = first.measures.get(name), second.measures.get(name)
        if any(both):
            values, lows, highs = (
                tuple(None if one is None else getattr(one, what) for one in both)
                for what in ("value", "low", "high")
            )
            found.append(MeasureRow(name, values, lows, highs))  # type: ignore[arg-type]  # tuples of two
    return found


def _left_out(side: Side, reference: Reference | None) -> int:
    """Rows that are on no bins, or on those of another reference."""
    if reference is None:
        return 0
    binned = side.counts[reference.hash][: int(reference.binning.offsets[1])].sum()
    return max(0, side.rows - int(binned))
