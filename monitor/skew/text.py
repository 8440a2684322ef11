"""A comparison for people to read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from monitor.config.values import write_instant
from monitor.skew.report import ColumnSkew, Example, Skew

_WAYS = {
    "value": "another value",
    "type": "another type",
    "missing_in_training": "missing in the table",
    "missing_in_events": "missing in events",
}


@dataclass(frozen=True)
class Line:
    """A line; loud where a limit is passed."""

    text: str
    is_loud: bool = False


def lines(found: Skew, model: str, training: str, limit: str) -> Iterator[Line]:
    """Write what was found.

    Parameters
    ----------
    found : Skew
    model, training, limit : str
        What was compared, and how many rows of a column may differ.
    """
    keys = found.keys
    what = f"{keys.compared:,} of {keys.training_rows:,} rows of {training}"
    yield Line(f"{model}: {what} compared with their events, by {', '.join(found.key)}")
    for number, remark in _remarks(found):
        if number:
            yield Line(f"  {number:,} {remark}")
    width = max((len(column.name) for column in found.columns), default=0)
    for column in found.columns:
        yield Line(_head(column, width), column.is_above)
        for text in _details(column):
            yield Line(f"    {text}")
    for side, names in (("table", found.training_only), ("events", found.events_only)):
        if names:
            yield Line(f"in the {side} alone, not compared: {', '.join(names)}")
    above = ", ".join(column.name for column in found.above)
    yield Line(f"certainly more than {limit} differ: {above or 'in no column'}", bool(above))


def _remarks(found: Skew) -> tuple[tuple[int, str], ...]:
    keys = found.keys
    return (
        (keys.training_only, "rows of the table have no event"),
        (keys.events_only, "events have no row in the table"),
        (keys.training_without_key, "rows of the table have no key"),
        (keys.events_without_key, "events have no key"),
        (keys.training_repeated, "rows of the table repeat another one"),
        (keys.events_repeated, "events have a key that came before"),
        (keys.training_ambiguous, "rows of the table share their key with rows that differ: left out"),
        (keys.events_ambiguous, "keys stand for events that differ: left out"),
        (keys.unreadable, "messages cannot be read"),
        (keys.unpaired, "requests or responses came without the other"),
    )


def _head(column: ColumnSkew, width: int) -> str:
    share = column.share
    low, high = (0.0 if limit is None else limit for limit in (share.low, share.high))
    rows = f"{column.differ:,} of {column.compared:,}"
    return f"{column.name:{width}}  {share.value:8.3%} ({low:.3%} to {high:.3%})  {rows}"


def _details(column: ColumnSkew) -> Iterator[str]:
    if not column.differ:
        return
    yield ", ".join(f"{_WAYS[name]} {number:,}" for name, number in column.by.items() if number)
    for pattern in column.patterns:
        yield f"{pattern.words} ({pattern.rows:,})"
    if column.first_ms is not None:
        yield f"first {write_instant(column.first_ms)}, last {write_instant(column.last_ms)}"
    for example in column.examples:
        yield _example(example, column.is_personal)


def _example(example: Example, is_personal: bool) -> str:
    at = "" if example.at_ms is None else f" at {write_instant(example.at_ms)}"
    key = "(key hidden)" if example.key is None else example.key
    if is_personal:
        return f"{key}{at}: values hidden"
    one, other = ("missing" if value is None else value for value in (example.training, example.events))
    return f"{key}{at}: {one} in the table, {other} in events"
