"""Rows of predictions and of labels in bytes: what the database keeps of them but never asks about."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.outcomes import Predictions
from detectors.tensor import IntArray
from monitor.labels.pairing import LabelRows

LABEL = np.dtype(
    [
        ("label_ms", "<i8"),
        ("first_ms", "<i8"),
        ("label", "<u8"),
        ("value", "<f8"),
        ("place", "<i8"),
        ("model", "<i8"),
    ]
)
"""A stored label; see `LabelRows`."""


def packed(rows: Predictions) -> NDArray[np.uint8]:
    """Write each prediction in as many bytes: ``[n, length]``."""
    segments, classes = rows.segments.shape[1], rows.classes.shape[1]
    data = np.zeros(len(rows), _prediction(segments, classes))
    data["shape"] = segments, classes
    for name in ("event_ms", "predicted", "value", "score", "segments", "classes", "scores"):
        data[name] = getattr(rows, name)
    return _as_bytes(data)


def unpacked(data: NDArray[np.uint8]) -> Predictions:
    """Read what `packed` wrote; rows of different shapes are filled up with 0."""
    n = len(data)
    shapes = data[:, :2]
    widths = shapes.max(axis=0).tolist() if n else (0, 0)
    found = Predictions(
        np.zeros(n, np.int64), np.zeros(n, np.uint64), np.zeros(n), np.zeros(n),
        np.zeros((n, widths[0]), np.uint64), np.zeros((n, widths[1]), np.uint64), np.zeros((n, widths[1])),
    )  # fmt: skip
    for segments, classes in np.unique(shapes, axis=0).tolist():
        at = np.flatnonzero((shapes == (segments, classes)).all(axis=1))
        rows = _from_bytes(data[at], _prediction(segments, classes))
        for name in ("event_ms", "predicted", "value", "score"):
            getattr(found, name)[at] = rows[name]
        found.segments[at, :segments] = rows["segments"]
        found.classes[at, :classes] = rows["classes"]
        found.scores[at, :classes] = rows["scores"]
    return found


def packed_labels(labels: LabelRows) -> NDArray[np.uint8]:
    """Write each label in as many bytes: ``[n, length]``."""
    data = np.zeros(len(labels), LABEL)
    for name in LABEL.names or ():
        data[name] = getattr(labels, name)
    return _as_bytes(data)


def unpacked_labels(
    data: NDArray[np.uint8], key: IntArray, until_ms: IntArray, status: IntArray
) -> LabelRows:
    """Read what `packed_labels` wrote."""
    rows = _from_bytes(data, LABEL)
    columns = {name: np.ascontiguousarray(rows[name]) for name in LABEL.names or ()}
    return LabelRows(
        key=key,
        status=status,
        horizon_ms=until_ms - columns["label_ms"] - 1,
        is_sampled=np.ones(len(rows), bool),
        **columns,
    )


def labels_in(payloads: Sequence[bytes]) -> NDArray[np.void]:
    """Labels in payloads, as records of `LABEL`."""
    return np.frombuffer(b"".join(payloads), LABEL)


def _prediction(segments: int, classes: int) -> np.dtype[np.void]:
    return np.dtype(
        [
            ("shape", "u1", (2,)),
            ("event_ms", "<i8"),
            ("predicted", "<u8"),
            ("value", "<f8"),
            ("score", "<f8"),
            ("segments", "<u8", (segments,)),
            ("classes", "<u8", (classes,)),
            ("scores", "<f8", (classes,)),
        ]
    )


def _as_bytes(data: NDArray[np.void]) -> NDArray[np.uint8]:
    return np.frombuffer(data.tobytes(), np.uint8).reshape(len(data), data.dtype.itemsize)


def _from_bytes(data: NDArray[np.uint8], layout: np.dtype[np.void]) -> NDArray[np.void]:
    return np.ascontiguousarray(data).view(layout)[:, 0] if len(data) else np.zeros(0, layout)
