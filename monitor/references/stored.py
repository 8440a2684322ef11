"""What is known of stored references, as plain values for ``driftline reference`` and its JSON."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection

from detectors.reference import Reference
from monitor.config.values import write_instant
from monitor.store.queries.references import reference_of, references, uses
from schemas.errors import UnusableReference

PORTION = 200


def listed(connection: Connection, model: str | None = None) -> list[dict[str, Any]]:
    """Describe every stored reference, newest first.

    Parameters
    ----------
    connection : Connection
    model : str, optional
        Only references that were made for this model, or that a version of it uses.
    """
    found: list[dict[str, Any]] = []
    after: tuple[int, str] | None = None
    while rows := references(connection, after, PORTION):
        after = (rows[-1].created_at_ms, rows[-1].hash)
        used = uses(connection, [row.hash for row in rows])
        found += [_common(row, used.get(row.hash, [])) for row in rows]
    return [item for item in found if model is None or model in _models(item)]


def detailed(connection: Connection, hash_: str) -> dict[str, Any]:
    """Describe one reference with its columns, bins and shares.

    Raises
    ------
    UnusableReference
        If there is none of that hash.
    """
    row = reference_of(connection, hash_)
    if row is None:
        msg = f"there is no reference {hash_}"
        raise UnusableReference(msg)
    made = Reference.from_bytes(bytes(row.bytes))
    return {
        **_common(row, uses(connection, [hash_]).get(hash_, [])),
        "windows": len(made.window_starts),
        "segments": [label for label in made.binning.groups if label],
        "columns": columns_of(made),
    }


def columns_of(made: Reference) -> list[dict[str, Any]]:
    """Describe the columns of a reference.

    Returns
    -------
    list of dict
        ``name``, ``kind``, ``source``, rows with a valid value (``count``), ``missing`` and ``invalid`` rows,
        and ``bins``: label, count, and share of all rows.
    """
    binning, found = made.binning, []
    for i, (spec, bins) in enumerate(zip(binning.columns, binning.bins, strict=True)):
        counts = made.counts[0, int(binning.offsets[i]) : int(binning.offsets[i + 1])].tolist()
        labelled = zip(bins.labels(), counts, strict=True)
        found.append(
            {
                "name": spec.name,
                "kind": spec.kind.value,
                "source": spec.source.value,
                "count": sum(counts[:-2]),
                "missing": counts[-2],
                "invalid": counts[-1],
                "bins": [
                    {"label": label, "count": count, "share": count / made.rows} for label, count in labelled
                ],
            }
        )
    return found


def _common(row: Any, used: list[Any]) -> dict[str, Any]:
    metadata = json.loads(row.metadata)
    from_ms, to_ms = metadata.get("from_ms"), metadata.get("to_ms")
    return {
        "hash": row.hash,
        "rows": row.rows,
        "from": write_instant(from_ms) if to_ms else None,
        "to": write_instant(to_ms) if to_ms else None,
        "created_at": write_instant(row.created_at_ms),
        "metadata": metadata,
        "used_by": [
            {
                "model": pointer.model,
                "version": pointer.version,
                "revision": pointer.revision,
                "since": write_instant(pointer.from_ms),
                "promoted_at": write_instant(pointer.promoted_at_ms),
                "promoted_by": pointer.promoted_by,
            }
            for pointer in used
        ],
    }


def _models(item: dict[str, Any]) -> set[str]:
    return {item["metadata"].get("model"), *(use["model"] for use in item["used_by"])}
