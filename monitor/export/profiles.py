"""What columns looked like over time: a row for each window, column and segment, oldest window first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, select

from detectors.profile import Profile
from detectors.reference import Reference
from monitor.export.wanted import Wanted
from monitor.export.writing import INSTANT, Rows
from monitor.judging.merging import merge_slices
from monitor.profiling import Key
from monitor.references.lifecycle import ReferenceCache, pointer_at, pointers_of
from monitor.registry import read_columns
from monitor.store.tables import slice_profile
from monitor.web.bins import Binned, binned_columns, documents

QUANTILES = {"p01": 0.01, "p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "p99": 0.99}
_BIN = pa.struct(
    [
        ("kind", pa.string()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("value", pa.string()),
        ("count", pa.int64()),
        ("reference_share", pa.float64()),
    ]
)

SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("version", pa.string()),
        ("start", INSTANT),
        ("end", INSTANT),
        ("column", pa.string()),
        ("kind", pa.string()),
        ("source", pa.string()),
        ("segment", pa.string()),
        ("rows", pa.int64()),
        ("count", pa.int64()),
        ("missing", pa.int64()),
        ("invalid", pa.int64()),
        ("unseen", pa.int64()),
        ("distinct", pa.float64()),
        ("min", pa.float64()),
        ("max", pa.float64()),
        ("mean", pa.float64()),
        *((name, pa.float64()) for name in QUANTILES),
        ("reference_hash", pa.string()),
        ("bins", pa.list_(_BIN)),
    ]
)


@dataclass(frozen=True)
class Stretch:
    """A window of a model version, or a sum of slices that is longer than one."""

    key: Key
    start_ms: int
    end_ms: int


def portions(connection: Connection, wanted: Wanted, every_ms: int, *, segments: bool) -> Iterator[Rows]:
    """Read profiles of windows; each is one portion.

    Parameters
    ----------
    connection : Connection
    wanted : Wanted
    every_ms : int
        Length of a window, in whole slices. Where slices were added up to hours or days, windows are at least
        as long.
    segments : bool
        Rows for each segment too.
    """
    cache = ReferenceCache(64)
    for version in _versions(connection, wanted):
        key = (wanted.model, version)
        pointers = pointers_of(connection, cache, key)
        specs = read_columns(connection, [wanted.model]).get(key, {})
        for stretch in _stretches(connection, wanted, key, every_ms):
            pointer = pointer_at(pointers, stretch.start_ms)
            merged = merge_slices(_slices(connection, stretch), specs, pointer, samples=False)
            reference = None if pointer is None else cache.get(connection, pointer.hash)
            yield _rows(stretch, merged.profile, reference, segments=segments)


def _versions(connection: Connection, wanted: Wanted) -> list[str]:
    c = slice_profile.c
    query = select(c.version).where(c.model == wanted.model, *wanted.within(c.slice_ms))
    found = connection.execute(query.distinct().order_by(c.version)).scalars()
    return [version for version in found if wanted.version in (None, version)]


def _stretches(connection: Connection, wanted: Wanted, key: Key, every_ms: int) -> Iterator[Stretch]:
    c = slice_profile.c
    query = select(c.slice_ms, c.span_ms).where(
        c.model == key[0], c.version == key[1], *wanted.within(c.slice_ms)
    )
    end_ms: int | None = None
    for row in connection.execute(query.distinct().order_by(c.slice_ms, c.span_ms.desc())).all():
        if end_ms is None or row.slice_ms >= end_ms:
            length_ms = max(every_ms, row.span_ms)
            start_ms = row.slice_ms // length_ms * length_ms
            end_ms = start_ms + length_ms
            yield Stretch(key, max(start_ms, wanted.from_ms or start_ms), min(end_ms, wanted.to_ms or end_ms))


def _slices(connection: Connection, stretch: Stretch) -> list[Any]:
    c = slice_profile.c
    mine = (c.model == stretch.key[0], c.version == stretch.key[1])
    within = (c.slice_ms >= stretch.start_ms, c.slice_ms < stretch.end_ms)
    # In order, so that sums have the same last digits each time.
    return list(connection.execute(select(slice_profile).where(*mine, *within).order_by(c.id)))


def _rows(stretch: Stretch, profile: Profile, reference: Reference | None, *, segments: bool) -> Rows:
    found = []
    for group, segment in enumerate(profile.groups[: None if segments else 1]):
        for binned in binned_columns(profile, reference, group):
            row = _row(profile, binned, group)
            found.append(
                {
                    "model": stretch.key[0],
                    "version": stretch.key[1],
                    "start": stretch.start_ms,
                    "end": stretch.end_ms,
                    "segment": segment,
                    "reference_hash": profile.reference_hash or None,
                    **row,
                }
            )
    return found


def _row(profile: Profile, binned: Binned, group: int) -> dict[str, Any]:
    spec = binned.spec
    row: dict[str, Any] = {
        "column": spec.name,
        "kind": spec.kind.value,
        "source": spec.source.value,
        "rows": int(profile.group_rows[group]),
        "count": binned.valid,
        "missing": binned.missing,
        "invalid": binned.invalid,
        "unseen": binned.unseen,
        "bins": [one.model_dump() for one in documents(binned)],
    }
    summary = profile.summaries.get(spec.name)
    if group or summary is None:  # of segments, counts alone are kept
        return row
    row["distinct"] = summary.distinct.estimate()
    quantiles = summary.quantile(list(QUANTILES.values()))
    if quantiles is not None:
        row |= {"min": summary.lowest, "max": summary.highest, "mean": summary.mean}
        row |= dict(zip(QUANTILES, quantiles, strict=True))
    return row
