"""Backtests: what the policy would have alerted on in a table of past events, when, and with which evidence.

A table goes the way that events go through the service, without Kafka and without a database: a reference is
learned from the first stretch, or built from the configured file; every later window is counted on its bins
and judged in order of time; alerts open, develop and end, and routes say who would have been told.

Examples
--------
>>> import numpy as np, pandas as pd
>>> from monitor.config import Configuration
>>> configuration = Configuration.model_validate({
...     "kafka": {"bootstrap_servers": "127.0.0.1:9092"}, "database_url": "sqlite:///x.db",
...     "streams": [{"topic": "p", "kind": "predictions"}],
...     "defaults": {"slice": "1h", "windows": ["1d"], "reference": {"first": "20d"}, "detector": "psi"}})
>>> hours = np.arange(24 * 30)
>>> frame = pd.DataFrame({"timestamp": hours * 3_600_000, "model": "m", "temp": hours * 7 % 24})
>>> frame.loc[frame.timestamp >= 25 * 86_400_000, "temp"] += 12
>>> found = backtest(frame, configuration)
>>> found.windows, [(alert.column, f"{alert.opened_at:%-d %b}") for alert in found.alerts]
(10, [('temp', '27 Jan')])
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alerting.alert import Alert, Change, step
from alerting.codec import document
from alerting.digest import Digest
from alerting.digest import document as digest_document
from alerting.finding import WindowObservation
from alerting.pipeline import outbox_rows
from detectors.base import Moment
from detectors.binning import Binning
from detectors.digest import week_of
from detectors.joint import judge_window, lanes_of
from detectors.prepared import Prepared
from detectors.reference import Reference
from detectors.sample import MOST_ROWS, Sample
from detectors.streams import week_in
from detectors.tensor import BoolArray, IntArray
from monitor.config import Configuration
from monitor.config.settings import ModelSettings
from monitor.config.values import write_instant
from monitor.frames import Batches, Table, frame_table, open_table
from monitor.frames.batches import layout_of
from monitor.frames.names import MODEL, TIMESTAMP, VERSION, KnownKinds
from monitor.frames.reference import reference_from_table
from monitor.frames.samples import TableSamples
from monitor.frames.times import WrongInstant, event_times
from monitor.frames.values import categories, numbers, plain
from monitor.judging.budget import window_budget
from monitor.judging.digests import digest_of
from monitor.judging.weeks import rows_of, words
from monitor.profiling import Key
from monitor.references.lifecycle import Span, first_stretch
from schemas.batch import Batch
from schemas.column import PERFORMANCE_ERROR, PREDICTION, ColumnSpec, Kind, Source
from schemas.verdict import Verdict, without_alarms
from schemas.window import WindowSpec

if TYPE_CHECKING:
    import pandas as pd

    TableLike = Table | pd.DataFrame | str | Path

UNVERSIONED = "unversioned"
EVENT_ID, LABEL, LABEL_TIMESTAMP = "event_id", "label", "label_timestamp"
MOST_COUNTS = 20_000_000  # kept at a time; more take further passes over the table
_ALWAYS = Span(0, 1 << 62)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Delivery:
    """One message that a route would have sent: which change of which alert, to whom."""

    at: datetime
    receiver: str
    alert_id: str
    sequence: int
    change: str
    cause: str


@dataclass(frozen=True)
class Backtest:
    """What the policy would have done.

    Parameters
    ----------
    models : tuple of str
        Models of which windows were judged.
    windows, results : int
        Windows that were judged, and streams judged in them.
    from_ms, to_ms : int
        Judged span of event time.
    allowed, spent : float
        False alarms that the stated budget expects over this span, and the sum of the budgets that were in
        effect. A detector that keeps to no budget, such as ``psi``, spends none.
    alerts : tuple of Alert
        As they were in the end, oldest first.
    deliveries : tuple of Delivery
        In order of time.
    skipped : tuple of str
        Model versions that could not be judged, each with the reason.
    digests : tuple of Digest
        Of every week with judged windows, oldest first; only detectors with e-values have any.
    """

    models: tuple[str, ...]
    windows: int
    results: int
    from_ms: int
    to_ms: int
    allowed: float
    spent: float
    alerts: tuple[Alert, ...]
    deliveries: tuple[Delivery, ...]
    skipped: tuple[str, ...] = ()
    digests: tuple[Digest, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return what ``driftline backtest --json`` prints; `model` is a list if there are several."""
        return {
            "model": self.models[0] if len(self.models) == 1 else list(self.models),
            "windows": self.windows,
            "results": self.results,
            "budget": {"allowed": self.allowed, "spent": self.spent},
            "alerts": [document(alert) for alert in self.alerts],
            "deliveries": [msgspec.to_builtins(delivery) for delivery in self.deliveries],
            "digests": [digest_document(digest) for digest in self.digests],
            "retraining": [],
        }


def backtest(
    events: TableLike,
    configuration: Configuration,
    *,
    labels: TableLike | None = None,
    model: str | None = None,
    progress: Progress | None = None,
) -> Backtest:
    """Judge a table of past events as the service would have judged them.

    Parameters
    ----------
    events : DataFrame, Table, or path of a CSV or Parquet file
        One row an event, in any order; needs ``timestamp``. Each (model, version) is judged on its own.
    configuration : Configuration
        Its Kafka, database and receivers are not touched.
    labels : DataFrame, Table, or path, optional
        ``event_id``, ``label`` and perhaps ``label_timestamp``, in place of a column ``label`` of the events.
        Of several labels of an event the latest counts, of equally late ones the first.
    model : str, optional
        Judge this model only. For a table without a column ``model``: what its rows are of; default: the only
        entry of ``models``.
    progress : callable, optional
        Called with the number of windows judged and that of all windows.

    Raises
    ------
    UsageError
        If a table cannot be read, or has no row that can be judged.
    UnusableReference
        If the configured reference file makes no reference.

    Notes
    -----
    The stated budget is shared equally by the model versions of the table that have a reference by then. Rows
    are taken as they are: late events count where they belong, and repeated event ids are not looked for.

    Guarantees
    ----------
    Memory grows with the number of windows up to `MOST_COUNTS` counts, not with the number of rows; a frame
    and the labels are held in memory.
    """
    opened = _opener(events)
    first = opened(configuration.defaults)
    known = None if labels is None else _Labels.read(_opener(labels)(configuration.defaults))
    survey = _survey(first, configuration, _fallback(first, configuration, model))
    wanted = [key for key in sorted(survey) if model is None or key[0] == model]
    if not wanted:
        there = ", ".join(sorted({key[0] for key in survey})[:10]) or "no rows at all"
        msg = f"has no rows of model {model!r} (there are: {there})" if survey else "has no rows"
        raise first.wrong(msg)
    jobs, skipped = [], []
    for key in wanted:
        settings = configuration.for_model(key[0])
        history = _History(opened(settings), key, settings, known)
        try:
            jobs.append(_plan(history, survey[key], configuration))
        except _NothingToJudge as reason:
            skipped.append(f"model {key[0]!r} version {key[1]!r}: {reason}")
    if not jobs:
        raise first.wrong("; ".join(skipped))
    return _run(jobs, configuration, _Shared.of(survey, configuration), tuple(skipped), progress or _silent)


# --- what is in the table -----------------------------------------------------------------------------------


class _Slices(NamedTuple):
    """Slices with rows of one model version, in order, and their numbers of rows."""

    starts: IntArray
    rows: IntArray


def _opener(source: TableLike) -> Callable[[ModelSettings], Table]:
    """How to open a table with the kinds that the settings of a model fix."""

    def opened(settings: ModelSettings) -> Table:
        kinds = KnownKinds(settings, {})
        if isinstance(source, Table):
            return source
        return open_table(source, kinds) if isinstance(source, str | Path) else frame_table(source, kinds)

    return opened


def _fallback(table: Table, configuration: Configuration, model: str | None) -> str:
    """Model of the rows of a table without a column ``model``."""
    if MODEL in table.schema.names:
        return ""
    names = [model] if model is not None else list(configuration.models)
    if len(names) != 1:
        msg = "has no column model, and the configuration does not name exactly one (give --model)"
        raise table.wrong(msg)
    return names[0]


def _survey(table: Table, configuration: Configuration, fallback: str) -> dict[Key, _Slices]:
    """Find out which model versions there are, and in which slices."""
    if TIMESTAMP not in table.schema.names:
        msg = f"has no column {TIMESTAMP} (a backtest needs the time of every event)"
        raise table.wrong(msg)
    found: dict[Key, list[_Slices]] = {}
    for part, times in _parts(table):
        for key, rows in _keys(table, part, fallback):
            every = configuration.for_model(key[0]).slice_ms
            found.setdefault(key, []).append(_slices(times[rows] // every * every))
    return {key: _joined(parts) for key, parts in found.items()}


def _parts(table: Table) -> Iterator[tuple[pa.Table, IntArray]]:
    """Read a table with the times of its rows."""
    rows = 0
    try:
        for part in table.parts():
            if part.num_rows:
                yield part, _times(table, part, rows, TIMESTAMP)
            rows += part.num_rows
    except pa.ArrowException as error:
        raise table.wrong(str(error).splitlines()[0]) from error
    except OSError as error:
        msg = f"cannot be read: {error.strerror or error}"
        raise table.wrong(msg) from error


def _times(table: Table, part: pa.Table, rows: int, name: str) -> IntArray:
    try:
        return event_times(part.column(name).combine_chunks())
    except WrongInstant as error:
        msg = f"row {rows + error.row + 1}: {name}: {error.what}"
        raise table.wrong(msg) from None


def _keys(table: Table, part: pa.Table, fallback: str) -> Iterator[tuple[Key, BoolArray]]:
    """Model versions of a part, each with its rows."""
    models, versions = _models(part, fallback), _versions(part)
    if models.null_count:
        msg = f"{MODEL} is missing in {models.null_count} rows (every event needs one)"
        raise table.wrong(msg)
    coded = [texts.dictionary_encode() for texts in (models, versions)]
    names = [texts.dictionary.to_pylist() for texts in coded]
    joint = coded[0].indices.to_numpy().astype(np.int64) * len(names[1]) + coded[1].indices.to_numpy()
    for code in np.unique(joint).tolist():
        yield (names[0][code // len(names[1])], names[1][code % len(names[1])]), joint == code


def _models(part: pa.Table, fallback: str) -> pa.Array:
    return _texts(part.column(MODEL)) if MODEL in part.schema.names else pa.repeat(fallback, part.num_rows)


def _versions(part: pa.Table) -> pa.Array:
    if VERSION not in part.schema.names:
        return pa.repeat(UNVERSIONED, part.num_rows)
    return _texts(part.column(VERSION)).fill_null(UNVERSIONED)


def _texts(column: pa.ChunkedArray) -> pa.Array:
    """Names of values as categories; null for what has none."""
    values = plain(column)
    if pa.types.is_string(values.type) or pa.types.is_integer(values.type):
        return values.cast(pa.string())
    found = categories(values)
    return found.values.take(pa.array(np.maximum(found.codes, 0), mask=found.codes < 0))


def _slices(starts: IntArray) -> _Slices:
    return _Slices(*np.unique(starts, return_counts=True))


def _joined(parts: Sequence[_Slices]) -> _Slices:
    starts, at = np.unique(np.concatenate([part.starts for part in parts]), return_inverse=True)
    rows = np.zeros(len(starts), np.int64)
    np.add.at(rows, at, np.concatenate([part.rows for part in parts]))
    return _Slices(starts, rows)


# --- labels and performance ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Labels:
    """One label for each event: `ids` are texts, all different."""

    ids: pa.Array
    values: pa.Array

    @classmethod
    def read(cls, table: Table) -> _Labels:
        for name in (EVENT_ID, LABEL):
            if name not in table.schema.names:
                msg = f"has no column {name} (labels need {EVENT_ID} and {LABEL})"
                raise table.wrong(msg)
        try:
            whole = pa.concat_tables([table.schema.empty_table(), *table.parts()])
        except pa.ArrowException as error:
            raise table.wrong(str(error).splitlines()[0]) from error
        except OSError as error:
            msg = f"cannot be read: {error.strerror or error}"
            raise table.wrong(msg) from error
        whole = whole.filter(pc.is_valid(whole.column(LABEL)))
        ids = _texts(whole.column(EVENT_ID))
        if ids.null_count:
            msg = f"{EVENT_ID} is missing in {ids.null_count} rows"
            raise table.wrong(msg)
        dated = LABEL_TIMESTAMP in table.schema.names
        age = (
            -_times(table, whole, 0, LABEL_TIMESTAMP) if dated and len(ids) else np.zeros(len(ids), np.int64)
        )
        codes = ids.dictionary_encode().indices.to_numpy()
        # Sorting is stable: of equally late labels the first stays the first.
        order = np.lexsort((age, codes))
        newest = order[np.flatnonzero(np.diff(codes[order], prepend=-1))]
        return cls(ids.take(newest), plain(whole.column(LABEL)).take(newest))

    def of(self, part: pa.Table) -> pa.ChunkedArray:
        """Labels of the events of a part of a table; null for those without one."""
        at = pc.index_in(_texts(part.column(EVENT_ID)), value_set=self.ids, skip_nulls=True)
        return pa.chunked_array([self.values.take(at)])


def _errors(prediction: pa.ChunkedArray, label: pa.ChunkedArray, kind: Kind) -> pa.Array:
    """How wrong predictions were; null without a prediction or a label.

    Examples
    --------
    >>> ints, texts = pa.chunked_array([[1, 0, 1]]), pa.chunked_array([["1", "1", None]])
    >>> _errors(ints, texts, Kind.CATEGORICAL).to_pylist()
    ['right', 'wrong', None]
    >>> _errors(ints, ints, Kind.NUMERIC).to_pylist()
    [0.0, 0.0, 0.0]
    """
    if kind is Kind.NUMERIC:
        (predicted, first), (actual, second) = numbers(plain(prediction)), numbers(plain(label))
        return pa.array(np.abs(predicted - actual), mask=(first != 0) | (second != 0))
    return pc.if_else(pc.equal(_texts(prediction), _texts(label)), "right", "wrong")


class _History:
    """The rows of one model version.

    Parameters
    ----------
    table : Table
    key : tuple of str
        Model and version.
    settings : ModelSettings
    labels : _Labels or None
        None: the labels are in the table's column ``label``, if there is one.
    """

    def __init__(self, table: Table, key: Key, settings: ModelSettings, labels: _Labels | None) -> None:
        self.table, self.key, self._labels = table, key, labels
        layout = layout_of(table, settings, KnownKinds(settings, {}))
        prediction = layout.outputs.get(PREDICTION)
        if labels is not None:
            for name in (EVENT_ID, PREDICTION):
                if name not in table.schema.names:
                    msg = f"has no column {name}, which labels are paired by (or leave the labels out)"
                    raise table.wrong(msg)
        is_labelled = labels is not None or _has_values(table, LABEL)
        self.performance = prediction.kind if prediction is not None and is_labelled else None
        self.specs = {spec.name: spec for spec in (*layout.features.values(), *layout.outputs.values())}
        self.settings = settings
        if self.performance is not None:
            self._check_free(table)
            # The derived column takes no feature's place.
            self.settings = settings.model_copy(update={"max_columns": settings.max_columns + 1})
            self.specs[PERFORMANCE_ERROR] = ColumnSpec(
                PERFORMANCE_ERROR, self.performance, Source.PERFORMANCE
            )

    def between(self, span: Span) -> Table:
        """Rows of a span of event time, with how wrong their predictions were."""

        def parts() -> Iterator[pa.Table]:
            for part, times in _parts(self.table):
                is_in = (times >= span.from_ms) & (times < span.to_ms)
                picked = self._with_errors(part.filter(pa.array(is_in & self._mine(part))), self._labels)
                if picked.num_rows:
                    yield picked

        return Table(self.table.name, self._schema(self.table), parts)

    def batches(self, span: Span) -> Batches:
        """Batches of a span of event time."""
        return Batches(self.between(span), self.settings, self.specs)

    def reference_file(self, path: Path) -> Reference:
        """Make the reference of a configured file; it has performance if it has labels of its own."""
        table = open_table(path, KnownKinds(self.settings, self.specs))
        if self.performance is not None and {PREDICTION, LABEL} <= set(table.schema.names):
            self._check_free(table)
            whole = table
            table = replace(
                table,
                schema=self._schema(table),
                parts=lambda: (self._with_errors(part, None) for part in whole.parts()),
            )
        return reference_from_table(table, self.settings, self.specs, model=self.key[0])

    def _mine(self, part: pa.Table) -> BoolArray:
        model, version = self.key
        mine = pc.and_(pc.equal(_models(part, model), model), pc.equal(_versions(part), version))
        return np.asarray(mine.to_numpy(zero_copy_only=False), np.bool_)

    def _with_errors(self, part: pa.Table, labels: _Labels | None) -> pa.Table:
        if self.performance is None:
            return part
        label = part.column(LABEL) if labels is None else labels.of(part)
        return part.add_column(
            0, self._field, _errors(part.column(PREDICTION), label, self.performance).cast(self._field.type)
        )

    def _schema(self, table: Table) -> pa.Schema:
        return table.schema if self.performance is None else table.schema.insert(0, self._field)

    @property
    def _field(self) -> pa.Field:
        return pa.field(PERFORMANCE_ERROR, pa.float64() if self.performance is Kind.NUMERIC else pa.string())

    def _check_free(self, table: Table) -> None:
        if PERFORMANCE_ERROR in table.schema.names:
            msg = f"{PERFORMANCE_ERROR} is the name of a derived column (call the feature something else)"
            raise table.wrong(msg)


def _has_values(table: Table, name: str) -> bool:
    """Whether a column is there, of a type that holds values."""
    return name in table.schema.names and not pa.types.is_null(table.schema.field(name).type)


# --- references and windows ---------------------------------------------------------------------------------


class _NothingToJudge(Exception):  # noqa: N818 - a reason, reported with those of other versions
    """A model version cannot be judged; the text says why."""


@dataclass(frozen=True)
class _Job:
    """A model version with its reference and the windows to judge, in order."""

    history: _History
    reference: Reference
    spec: WindowSpec
    starts: IntArray
    sampled_rows: int  # of a window, at most


def _plan(history: _History, slices: _Slices, configuration: Configuration) -> _Job:
    settings = history.settings
    spec = settings.windows[0]
    if settings.reference.file is not None:
        reference, first_ms = history.reference_file(configuration.folder / settings.reference.file), 0
    else:
        span = first_stretch(slices.starts, slices.rows, settings)
        if span is None:
            needed = f"reference.min_rows is {settings.reference.min_rows}"
            msg = f"{int(slices.rows.sum())} rows do not make a reference ({needed})"
            raise _NothingToJudge(msg)
        made = reference_from_table(history.between(span), history.settings, history.specs)
        # A reference of a stream keeps the stretch that it was learned from, not only that of its rows.
        reference = replace(made, from_ms=span.from_ms, to_ms=span.to_ms, _kept={})
        first_ms = -(-span.to_ms // spec.every_ms) * spec.every_ms
    starts = _window_starts(slices.starts, spec, first_ms)
    if not len(starts):
        until = write_instant(reference.to_ms)
        msg = f"there are no rows after the reference, which ends at {until} (shorten reference.first)"
        raise _NothingToJudge(msg)
    in_panes = np.bincount((slices.starts - slices.starts[0]) // spec.length_ms, slices.rows)
    sampled = min(MOST_ROWS, int(in_panes.max())) if settings.sample_per_minute else 0
    return _Job(history, reference, spec, starts, sampled)


def _window_starts(slices: IntArray, spec: WindowSpec, first_ms: int) -> IntArray:
    """Starts of the windows from `first_ms` on that hold a slice with rows, in order.

    Examples
    --------
    >>> _window_starts(np.array([0, 60_000, 300_000]), WindowSpec.parse("2m/1m"), 0).tolist()
    [0, 60000, 240000, 300000]
    """
    newest = np.unique(slices // spec.every_ms * spec.every_ms)
    back = np.arange(0, spec.length_ms, spec.every_ms)
    starts = np.unique((newest[:, None] - back).ravel())
    return np.asarray(starts[starts >= first_ms])


def _windows(job: _Job) -> Iterator[tuple[int, IntArray, Sample]]:
    """Count every window on the bins of the reference, ``[groups, bins]``, and pick rows; several a pass."""
    binning, spec = job.reference.binning, job.spec
    size = len(binning.groups) * int(binning.offsets[-1])
    size = max(size, job.sampled_rows * len(binning.columns))
    together = max(1, MOST_COUNTS // size - spec.length_ms // spec.every_ms)
    for at in range(0, len(job.starts), together):
        starts = job.starts[at : at + together].tolist()
        span = Span(starts[0], starts[-1] + spec.length_ms)
        settings = job.history.settings
        samples = TableSamples(settings.slice_ms, settings.slice_sample_rows, spec.every_ms)
        counts = _count(job.history.batches(span), binning, spec.every_ms, samples)
        picked = samples.windows(np.array(starts), spec.length_ms)
        for start in starts:
            panes = (counts.get(pane) for pane in range(start, start + spec.length_ms, spec.every_ms))
            yield start, np.asarray(sum(pane for pane in panes if pane is not None), np.int64), picked[start]


def _count(
    batches: Iterable[Batch], binning: Binning, every_ms: int, samples: TableSamples
) -> dict[int, IntArray]:
    counts: dict[int, IntArray] = {}
    for batch in batches:
        samples.add(batch)
        prepared = Prepared(batch, binning, every_ms)
        for section in prepared.sections:
            new = prepared.counts(section)
            known = counts.get(section.slice_ms)
            counts[section.slice_ms] = new if known is None else known + new
    return counts


@dataclass(frozen=True)
class _Shared:
    """When each model version of the table got its reference, in order: from then on it shares the budget."""

    since_ms: tuple[int, ...]

    @classmethod
    def of(cls, survey: Mapping[Key, _Slices], configuration: Configuration) -> _Shared:
        found = []
        for key, slices in survey.items():
            settings = configuration.for_model(key[0])
            if settings.reference.file is not None:
                found.append(int(slices.starts[0]))
            elif (span := first_stretch(slices.starts, slices.rows, settings)) is not None:
                found.append(span.to_ms)
        return cls(tuple(sorted(found)))

    def at(self, end_ms: int) -> int:
        """Model versions that share the budget of a window."""
        return max(1, bisect_right(self.since_ms, end_ms))


# --- judging ------------------------------------------------------------------------------------------------


def _run(
    jobs: Sequence[_Job],
    configuration: Configuration,
    shared: _Shared,
    skipped: tuple[str, ...],
    progress: Progress,
) -> Backtest:
    total = sum(len(job.starts) for job in jobs)
    results = done = 0
    spent: list[float] = []
    incidents, weeks = _Incidents(configuration), _Weeks(configuration)
    progress(0, total)
    for job in jobs:
        incidents.current = None
        for window in _judged(job, configuration, shared):
            incidents.take(job, window)
            weeks.take(job, window)
            results += sum(1 for verdict in window.verdicts if verdict.n or verdict.m)
            spent += [verdict.budget for verdict in window.verdicts if verdict.budget is not None]
            done += 1
            progress(done, total)
        weeks.close(job)
    from_ms = min(int(job.starts[0]) for job in jobs)
    to_ms = max(int(job.starts[-1]) + job.spec.length_ms for job in jobs)
    return Backtest(
        models=tuple(dict.fromkeys(job.history.key[0] for job in jobs)),
        windows=total,
        results=results,
        from_ms=from_ms,
        to_ms=to_ms,
        allowed=configuration.alerts.budget.expected_in(to_ms - from_ms),
        spent=math.fsum(spent),
        alerts=tuple(sorted(incidents.alerts.values(), key=lambda alert: (alert.opened_at, alert.id))),
        deliveries=tuple(sorted(incidents.deliveries, key=lambda d: (d.at, d.alert_id, d.sequence))),
        skipped=skipped,
        digests=weeks.digests(),
    )


def _judged(job: _Job, configuration: Configuration, shared: _Shared) -> Iterator[_Window]:
    """Judge all windows of a model version, one after the other."""
    reference, length_ms = job.reference, job.spec.length_ms
    detector = job.history.settings.build_detector()
    lanes, segments = lanes_of(reference, detector), len(reference.binning.groups)
    nothing = np.zeros((segments, len(lanes)))
    state = b""
    for start_ms, counts, sample in _windows(job):
        end_ms = start_ms + length_ms
        is_step = job.spec.is_apart(start_ms)
        budget = nothing
        if is_step:
            budget = window_budget(configuration.alerts, length_ms, shared.at(end_ms), lanes, segments)
        moment = Moment(start_ms, end_ms, budget)
        found = judge_window(detector, reference, counts, sample, state, moment)
        if is_step or not found.state:
            state = found.state
            yield _Window(start_ms, end_ms, found.verdicts, state)
        else:
            yield _Window(start_ms, end_ms, without_alarms(found.verdicts), None)


class _Window(NamedTuple):
    """A judged window; `state` is that of the detector afterwards, None if it did not take the window in."""

    start_ms: int
    end_ms: int
    verdicts: list[Verdict]
    state: bytes | None


class _Weeks:
    """Evidence of whole weeks of all model versions."""

    def __init__(self, configuration: Configuration) -> None:
        self._level = configuration.alerts.digest.level
        self._rows: dict[int, list[dict[str, Any]]] = {}
        self._latest: _Window | None = None
        self._most: dict[tuple[str, str], Verdict] = {}

    def take(self, job: _Job, window: _Window) -> None:
        """Take in the next window of a model version."""
        if not window.state:
            return
        if self._latest is not None and week_of(self._latest.start_ms) != week_of(window.start_ms):
            self.close(job)
        self._latest = window
        for verdict in window.verdicts:
            stream = verdict.column, verdict.segment
            if _debiased(verdict) > _debiased(self._most.get(stream)):
                self._most[stream] = verdict

    def close(self, job: _Job) -> None:
        """Keep what there is of the week of the latest window; no more of it is to come."""
        week = week_in(self._latest.state or b"") if self._latest is not None else None
        if week is not None:
            rows = rows_of(job.history.key, week, job.reference.tensor, self._words)
            self._rows.setdefault(week.start_ms, []).extend(rows)
        self._latest, self._most = None, {}

    def digests(self) -> tuple[Digest, ...]:
        """What would have been listed, week by week."""
        return tuple(
            digest_of(week_ms, self._rows[week_ms], self._level, is_finished=True)
            for week_ms in sorted(self._rows)
        )

    def _words(self, _start_ms: int, column: str, segment: str) -> str:
        most = self._most.get((column, segment))
        return "" if most is None else words(column, segment, most.moved)


def _debiased(verdict: Verdict | None) -> float:
    """De-biased index of a verdict; below 0 without one."""
    if verdict is None:
        return -1.0
    return -1.0 if verdict.effects is None else verdict.effects.psi_debiased


class _Incidents:
    """Alerts of all model versions, and what people would have been told."""

    def __init__(self, configuration: Configuration) -> None:
        self._policy, self._routes = configuration.alerts.policy, configuration.alerts.routes
        self.current: Alert | None = None
        self.alerts: dict[str, Alert] = {}
        self.deliveries: list[Delivery] = []

    def take(self, job: _Job, window: _Window) -> None:
        """Let a window speak to the incident of its model version."""
        observation = WindowObservation.of(
            *job.history.key,
            window.start_ms,
            window.end_ms,
            window.verdicts,
            reference_hash=job.reference.hash,
        )
        after, changes = step(self.current, observation, self._policy)
        self.current = after
        if after is None:
            return
        self.alerts[after.id] = after
        self._tell(after, changes)

    def _tell(self, alert: Alert, changes: list[Change]) -> None:
        by_sequence: Mapping[int, Change] = {change.sequence: change for change in changes}
        for row in outbox_rows(alert, changes, self._routes):
            change = by_sequence[row.sequence]
            self.deliveries.append(
                Delivery(change.at, row.receiver, alert.id, row.sequence, str(change.kind), change.cause)
            )


def _silent(_done: int, _total: int) -> None:
    """Tell nobody."""
