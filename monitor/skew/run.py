"""From two sides to what was found: reads them, makes sure that they can be compared, compares them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from detectors.mismatch import Tolerance
from monitor.config.settings import ModelSettings
from monitor.frames.names import TIMESTAMP
from monitor.skew.batch import Wanted
from monitor.skew.checks import check_events, check_names, check_training
from monitor.skew.compare import Terms, compare
from monitor.skew.keys import Key
from monitor.skew.report import Keys, Skew
from monitor.skew.served import Served
from monitor.skew.sides import Side, events_side, training_side
from monitor.skew.training import Training, read_training
from schemas.errors import UsageError
from schemas.policy import Limit, read_limit

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[int, int], None]
"""Told how many events were read, and how many of them have a row in the table."""


def skew(
    training: pd.DataFrame | str | Path,
    events: pd.DataFrame | str | Path,
    *,
    key: str | Sequence[str] = "event_id",
    settings: ModelSettings | None = None,
    model: str | None = None,
    version: str | None = None,
    columns: Sequence[str] = (),
    entity: str | None = None,
    tolerance: Tolerance | None = None,
    fail_above: float | str = 0.0,
    examples: int = 5,
) -> Skew:
    """Compare the features that a model was trained on with those that it was served.

    Parameters
    ----------
    training : pandas.DataFrame or path
        One row for each key: a frame, or a CSV or Parquet file.
    events : pandas.DataFrame or path
        What was served: a table of the same form, perhaps with columns ``timestamp``, ``model``, ``version``.
    key : str or sequence of str
        What tells rows apart: ``NAME``, or ``COLUMN=NAME`` where the table calls it otherwise.
    settings : ModelSettings, optional
        Says which columns are personal.
    model, version : str, optional
        Events of others are left out, where the events say what they are of.
    columns : sequence of str
        Features to compare; default: those that both sides have.
    entity : str, optional
        Column of the training table that says whom a row is about, to find stale values by; default: the
        other part of a key with ``timestamp``.
    tolerance : Tolerance, optional
        Default: a millionth, where a number has a fraction.
    fail_above : float or str
        Most rows of a column that may differ: a share, ``1 %`` or ``5 rows``.
    examples : int
        Most rows that are shown of a column.

    Raises
    ------
    UsageError
        If the sides cannot be compared.
    """
    parts = Key.of([key] if isinstance(key, str) else key)
    terms = terms_of(parts, settings or ModelSettings(), tolerance, limit_of(fail_above), examples)
    table = training_side(training, parts, entity)
    served = events_side(events, wanted_of(parts, model, version))
    return find(table, served, terms, columns)


def terms_of(
    key: Key, settings: ModelSettings, tolerance: Tolerance | None, fail_above: Limit, examples: int
) -> Terms:
    """Say how sides of a model are compared."""
    personal = frozenset(name for name, column in settings.columns.items() if column.personal)
    return Terms(key, tolerance or Tolerance(), fail_above, examples, personal)


def wanted_of(key: Key, model: str | None, version: str | None) -> Wanted:
    """Say what is read of the events."""
    return Wanted(key.events, frozenset({TIMESTAMP}), model, version)


def limit_of(value: float | str) -> Limit:
    """Read the most rows that may differ.

    Raises
    ------
    UsageError
        If it is no limit.
    """
    try:
        return read_limit(float(value) if isinstance(value, str) and _is_share(value) else value)
    except ValueError as error:
        msg = f"--fail-above: {error}"
        raise UsageError(msg) from None


def _is_share(text: str) -> bool:
    return text.isascii() and text.replace(".", "", 1).isdigit()


def find(
    training: Side, events: Side, terms: Terms, columns: Sequence[str] = (), progress: Progress | None = None
) -> Skew:
    """Compare two sides.

    Raises
    ------
    UsageError
        If there is nothing to compare.
    """
    known = read_training(training.batches)
    check_training(training.name, known)
    served = Served(known.keys)
    for batch in events.batches:
        served.add(batch)
        if progress is not None:
            progress(served.events, int(served.is_served.sum()))
    check_events(events, known, served, terms)
    rows, _, there = served.found()
    names = list(dict.fromkeys(columns)) or [name for name in known.columns if name in there]
    check_names(names, known.columns, there)
    any_type = terms.tolerance.any_type or not (training.has_types and events.has_types)
    terms = replace(terms, tolerance=replace(terms.tolerance, any_type=any_type))
    return Skew(
        terms.key.events,
        _keys(known, served, len(rows), events),
        compare(known, served, names, terms),
        tuple(name for name in known.columns if name not in there and name not in names),
        tuple(name for name in there if name not in known.columns),
    )


def _keys(training: Training, served: Served, compared: int, events: Side) -> Keys:
    return Keys(
        training_rows=training.rows,
        events=served.events,
        compared=compared,
        training_only=len(training.keys) - int(served.is_served.sum()),
        events_only=served.without_row,
        training_without_key=training.without_key,
        events_without_key=served.without_key,
        training_repeated=training.repeated,
        events_repeated=served.repeated,
        training_ambiguous=training.ambiguous,
        events_ambiguous=served.ambiguous,
        unreadable=events.unreadable,
        unpaired=events.unpaired,
    )
