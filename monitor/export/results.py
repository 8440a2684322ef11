"""What was said of each window, column and segment: a row for each detector, windows newest first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection

from monitor.export.wanted import Wanted
from monitor.export.writing import INSTANT, Rows
from monitor.judging.judgements import EFFECTS, attribution_in, examples_in
from monitor.store.queries import results as stored

AT_ONCE = 5_000
_TEXTS = (
    "version", "window", "column", "segment", "detector", "lane", "decision", "threshold_source",
    "explanation", "reference_hash", "configuration_hash", "code_version",
)  # fmt: skip
_NUMBERS = ("statistic", "threshold", "evidence_log", "budget", *EFFECTS)
_COUNTS = ("revision", "n", "m")
_INSTANTS = {
    "window_start": "start_ms", "window_end": "end_ms", "onset_at": "onset_at_ms",
    "judged_at": "judged_at_ms",
}  # fmt: skip

SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        *((name, pa.string()) for name in _TEXTS[:2]),
        *((name, INSTANT) for name in _INSTANTS),
        *((name, pa.string()) for name in _TEXTS[2:]),
        *((name, pa.int64()) for name in _COUNTS),
        *((name, pa.float64()) for name in _NUMBERS),
        ("moved", pa.string()),
        ("attribution", pa.string()),
        ("examples", pa.string()),
    ]
)
"""The last three are JSON, as the API has them."""


def portions(connection: Connection, wanted: Wanted, hidden: frozenset[str]) -> Iterator[Rows]:
    """Read results of the latest judgement of each window.

    Parameters
    ----------
    connection : Connection
    wanted : Wanted
    hidden : frozenset of str
        Columns whose values must not be shown with examples.
    """
    asked = stored.Wanted(wanted.model, wanted.from_ms, wanted.to_ms, version=wanted.version)
    after: tuple[int, int] | None = None
    while rows := stored.results(connection, asked, after, AT_ONCE):
        after = rows[-1].start_ms, rows[-1].id
        yield [_row(row, hidden) for row in rows]


def _row(row: Any, hidden: frozenset[str]) -> dict[str, Any]:
    named = {name: getattr(row, name) for name in ("model", *_TEXTS, *_COUNTS, *_NUMBERS)}
    instants = {name: getattr(row, stored_as) for name, stored_as in _INSTANTS.items()}
    attribution = attribution_in(row.attribution)
    behind = {
        "moved": row.moved,
        "attribution": None if attribution is None else json.dumps(attribution),
        "examples": json.dumps([_example(one, hidden) for one in examples_in(row.attribution)]),
    }
    return named | instants | behind


def _example(stored_one: dict[str, Any], hidden: frozenset[str]) -> dict[str, Any]:
    values = {name: None if name in hidden else text for name, text in stored_one["values"].items()}
    return {**stored_one, "values": values}
