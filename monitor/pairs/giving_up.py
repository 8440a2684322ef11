"""Halves whose other half did not come in time, and the dead letters that they become."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection

from monitor.config.service import Stream
from monitor.dead_letters.letters import written_headers
from monitor.decode.catalog import AUTO, every
from monitor.decode.reading import Paired
from monitor.intake import LONGEST_DEAD_LETTER
from monitor.store.halves import At, StoredHalf, overdue, read_up_to
from schemas.duration import format_duration

MOST_HALVES = 250  # of one commit
MOST_BYTES = 8 << 20


def given_up(
    connection: Connection, places: Iterable[At], streams: Mapping[str, Stream], now_ms: int
) -> list[tuple[StoredHalf, str]]:
    """Halves in these partitions that have waited for too long, and why they are given up.

    Parameters
    ----------
    connection : Connection
    places : iterable of (str, int)
    streams : mapping of str to Stream
        By topic.
    now_ms : int
        Wall clock.

    Notes
    -----
    A half has waited for too long once it was stored that long ago, and every partition that may bring its
    other half has been read that much further: to its end since, or up to records that are so much newer. A
    reader that is behind, or away, makes nobody give up.
    """
    read_ms, stamp_ms = read_up_to(connection, topics_of_halves(streams.values()))
    by_wait: dict[int, list[At]] = {}
    for at in places:
        by_wait.setdefault(streams[at[0]].pair_within_ms, []).append(at)
    found: list[tuple[StoredHalf, str]] = []
    for wait_ms, mine in by_wait.items():
        halves = overdue(
            connection,
            mine,
            stored_ms=min(now_ms, now_ms if read_ms is None else read_ms) - wait_ms,
            stamp_ms=now_ms if stamp_ms is None else stamp_ms - wait_ms,
            most=MOST_HALVES,
            most_bytes=MOST_BYTES,
        )
        found += [(half, _reason(half, wait_ms)) for half in halves]
    return found


def topics_of_halves(streams: Iterable[Stream]) -> list[str]:
    """Topics that may have requests or responses alone."""
    formats = {AUTO, *(one.name for one in every() if isinstance(one, Paired))}
    return [one.topic for one in streams if one.kind == "predictions" and one.format in formats]


def _reason(half: StoredHalf, wait_ms: int) -> str:
    other = "response" if half.side == "request" else "request"
    return f"a {half.side} whose {other} did not come within {format_duration(wait_ms)} ({half.name:.200})"


def letter_of(
    half: StoredHalf, kind: str, reason: str, now_ms: int, *, is_remembered: bool = False
) -> dict[str, Any]:
    """Row of the dead letter that a half becomes.

    Parameters
    ----------
    half : StoredHalf
    kind, reason : str
    now_ms : int
        Wall clock.
    is_remembered : bool
        Whether other events of its pair were counted.
    """
    return {
        "topic": half.topic,
        "partition": half.partition,
        "offset": half.offset,
        "kind": kind,
        "reason": reason,
        "key": half.key,
        "value": half.value[:LONGEST_DEAD_LETTER],
        "value_bytes": len(half.value),
        "timestamp_ms": half.timestamp_ms,
        "stored_at_ms": now_ms,
        "headers": written_headers(half.headers),
        "events": 1,
        "is_remembered": is_remembered,
    }
