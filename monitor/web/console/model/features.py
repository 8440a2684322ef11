"""The features of a model over a range: how far each has drifted, and what comes of it for predictions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from sqlalchemy import Connection

from monitor.judging.judgements import attribution_in
from monitor.store.queries.model_windows import attributions
from monitor.web.console.model.counted import Counted, count
from monitor.web.console.model.drift import Drift, Point, drift_of
from monitor.web.console.model.view import View
from monitor.web.context import Context
from schemas.attribution import PartKind

MOST_ATTRIBUTED = 120  # windows whose attributions are read
MOST_LOOKUPS = 5_000  # results that are read for the table
MOST_SLICES = 300  # slices that are counted for it


@dataclass(frozen=True)
class Attributed:
    """Where the change of the mean prediction against the reference comes from, in the mean of some windows.

    Parameters
    ----------
    outcome : str
        What the prediction is: ``mean score``.
    windows : int
    reference_mean, change : float
    parts : dict of str to float
        Change that comes with each feature; those that are not beyond chance count 0.
    words : dict of str to str
        What moved, in the newest window that says so.
    """

    outcome: str
    windows: int
    reference_mean: float
    change: float
    parts: dict[str, float]
    words: dict[str, str]


@dataclass(frozen=True)
class FeatureRow:
    """One feature over a range.

    Parameters
    ----------
    name, kind : str
    psi, psi_debiased, psi_low, psi_high : float or None
        Of all rows of the range together against the reference.
    worst : Point or None
        The judged window that is farthest off.
    worst_ms : int or None
        Its start.
    latest : Point or None
        The newest window.
    alarmed, windows : int
        Windows in alarm, of how many.
    missing : float or None
        Share of the range's rows without a value.
    part : float or None
        Of the change of the mean prediction; None where that is not known.
    moved : str
        What moved, in words; may be empty.
    """

    name: str
    kind: str
    psi: float | None
    psi_debiased: float | None
    psi_low: float | None
    psi_high: float | None
    worst: Point | None
    worst_ms: int | None
    latest: Point | None
    alarmed: int
    windows: int
    missing: float | None
    part: float | None
    moved: str


@dataclass(frozen=True)
class Features:
    """All features, those that matter most first; `note` says where not everything was read."""

    rows: list[FeatureRow]
    attributed: Attributed | None
    note: str

    @property
    def is_compared(self) -> bool:
        """Whether anything is known of drift."""
        return any(row.psi is not None or row.worst is not None for row in self.rows)


def features_of(context: Context, connection: Connection, view: View) -> Features:
    """Read what is known of the features of a model in a range.

    Notes
    -----
    First those that were found to have drifted, by their part in the change of the predictions; then the
    others, by the same, and by the PSI of their worst window.
    """
    names = view.of_source("feature")
    drift = drift_of(context, connection, _judged(view), names, MOST_LOOKUPS)
    counted = count(context, connection, view, MOST_SLICES)
    attributed = attributed_in(connection, view)
    whole = _whole(counted, names)
    rows = [_row(view, name, drift, whole.get(name), attributed) for name in names]
    rows.sort(key=_order)
    return Features(rows, attributed, drift.note.replace("shown", "read") + counted.note())


def ranking(context: Context, connection: Connection, view: View) -> tuple[list[str], Drift]:
    """Names of the features in the order of `features_of`, and their drift, without counting anything."""
    names = view.of_source("feature")
    drift = drift_of(context, connection, _judged(view), names)
    attributed = attributed_in(connection, view)
    rows = sorted((_row(view, name, drift, None, attributed) for name in names), key=_order)
    return [row.name for row in rows], drift


def attributed_in(connection: Connection, view: View) -> Attributed | None:
    """Average what the windows of a range say of the change of the mean prediction."""
    columns = view.of_source("score", "prediction")
    texts: list[str] = []
    for stretch in reversed(view.stretches(view.stride(most=MOST_ATTRIBUTED))):
        texts += attributions(connection, stretch, columns, MOST_ATTRIBUTED - len(texts))
    found = [one for one in map(attribution_in, texts) if one is not None]
    found = [one for one in found if one["outcome"] == found[0]["outcome"]]
    if not found:
        return None
    parts: dict[str, float] = {}
    words: dict[str, str] = {}
    for one in found:
        for part in one["parts"]:
            if part["kind"] == PartKind.FEATURE:
                parts[part["name"]] = parts.get(part["name"], 0.0) + part["part"] / len(found)
                words.setdefault(part["name"], part["words"])
    means = [float(np.mean([one[name] for one in found])) for name in ("reference_mean", "change")]
    return Attributed(found[0]["outcome"], len(found), means[0], means[1], parts, words)


@dataclass(frozen=True)
class _Whole:
    """One column over all rows of a range."""

    psi: float
    debiased: float
    low: float
    high: float
    missing: float | None


def _whole(counted: Counted, names: list[str]) -> dict[str, _Whole]:
    """Compare all counted rows of a range with the newest reference in it."""
    part = counted.latest()
    if part is None:
        return {}
    counts = part.counts.sum(axis=0)
    effects, index = part.effects(counts), part.reference.binning.index
    found = {}
    for name in names:
        if name not in index or not effects.n[index[name]]:
            continue
        place, one = part.place(name), effects.stream(index[name])
        missing = float(counts[place][-2] / counts[place].sum())
        found[name] = _Whole(one.psi, one.psi_debiased, one.psi_low, one.psi_high, missing)
    return found


def _row(
    view: View, name: str, drift: Drift, whole: _Whole | None, attributed: Attributed | None
) -> FeatureRow:
    known = drift.points.get(name, {})
    judged = {start: point for start, point in known.items() if point.psi is not None}
    worst_ms = max(judged, key=lambda start: judged[start].psi or 0.0, default=None)
    return FeatureRow(
        name=name,
        kind=view.columns[name][0],
        psi=whole.psi if whole else None,
        psi_debiased=whole.debiased if whole else None,
        psi_low=whole.low if whole else None,
        psi_high=whole.high if whole else None,
        worst=None if worst_ms is None else judged[worst_ms],
        worst_ms=worst_ms,
        latest=known[max(known)] if known else None,
        alarmed=sum(point.is_alarmed for point in known.values()),
        windows=len(known),
        missing=whole.missing if whole else None,
        part=None if attributed is None else attributed.parts.get(name, 0.0),
        moved="" if attributed is None else attributed.words.get(name, ""),
    )


def _order(row: FeatureRow) -> tuple[bool, float, float, str]:
    worst = 0.0 if row.worst is None else row.worst.psi or 0.0
    return (not row.alarmed, -abs(row.part or 0.0), -worst, row.name)


def _judged(view: View) -> View:
    """The same range in judged windows: only those have findings."""
    return replace(view, shape=view.judged)
