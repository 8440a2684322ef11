"""What is promised of every decoder, whatever the bytes are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from monitor.decode.batch import Events, Messages, Outputs, ReadPlace, make_batch
from monitor.decode.columns import Columns
from monitor.decode.envelope import Decoder, Envelopes, LabelEnvelopes
from monitor.decode.features import FeatureDecoder
from monitor.decode.message import Message
from monitor.decode.reading import Kind
from schemas.batch import CODE_INVALID, INVALID, Batch

LONGEST_REASON = 1_000
MOST_COLUMNS = 50
_APART = ("row", "problems", "halves")

Found = Envelopes | LabelEnvelopes


def decoded(decoder: Decoder, kind: Kind, messages: Sequence[Message]) -> Found:
    """Read messages as one fetch."""
    read = decoder.decode_labels if kind == "labels" else decoder.decode
    return read([message.value for message in messages], lambda at: messages[at])


def check_counts(found: Found, messages: int) -> None:
    """Every message is events, or half of an exchange, or a problem with a reason; never two of these."""
    rows = set(found.row.tolist())
    problems = [row for row, _ in found.problems]
    halves = [row for row, _ in getattr(found, "halves", [])]
    assert len(problems) == len(set(problems)), found.problems
    assert len(halves) == len(set(halves)), halves
    assert sorted([*rows, *problems, *halves]) == list(range(messages)), (rows, found.problems, halves)
    assert all(0 < len(reason) <= LONGEST_REASON for _, reason in found.problems), found.problems
    assert found.row.tolist() == sorted(found.row.tolist())
    for name in columns_of(found):
        assert len(getattr(found, name)) == len(found.row), name


def columns_of(found: Found) -> list[str]:
    """Names of everything that is known of an event."""
    return [name for name in found.__dataclass_fields__ if name not in _APART]


def events_of(found: Found, rows: Sequence[int]) -> list[list[str]]:
    """Events of some messages, written out so that they can be compared whatever is in them."""
    at = [place for place, row in enumerate(found.row.tolist()) if row in rows]
    return [[written(getattr(found, name)[place]) for name in columns_of(found)] for place in at]


def written(value: Any) -> str:
    """Write a value so that equal ones are written the same, also those that are no number."""
    if isinstance(value, tuple):
        block, row = value
        [value] = block.raws(np.array([row]))
    if not isinstance(value, msgspec.Raw | bytes):
        return repr(value)
    try:
        features = msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return repr(bytes(value))  # a number that is too long, for example
    return repr([(name, value) for name, value in features.items() if value is not None])


def check_same(found: Envelopes, other: Envelopes, messages: int) -> None:
    """Read many at a time or one by one: the same comes out."""
    assert found.row.tolist() == other.row.tolist()
    assert found.problems == other.problems
    assert events_of(found, range(messages)) == events_of(other, range(messages))


def check_features(found: Envelopes) -> None:
    """Every event becomes a row of a batch, or a problem with a reason."""
    events = Events()
    n = int(found.row.max()) + 1 if len(found) else 0
    nothing = np.zeros(n, np.int64)
    events.extend(
        found, None, Messages([b""] * n, [None] * n, nothing, nothing, nothing, {0: ReadPlace("t", 0)})
    )
    features, rows, problems = FeatureDecoder(Columns({}, MOST_COLUMNS)).decode(events.features)
    assert sorted([*rows.tolist(), *(row for row, _ in problems)]) == list(range(len(found)))
    assert all(reason for _, reason in problems)
    if len(rows):
        check_batch(make_batch(events, rows, features, Outputs().widened(events), ("region",)), len(rows))


def check_batch(batch: Batch, rows: int) -> None:
    """A batch holds what its docstring says."""
    assert len(batch) == rows
    assert batch.numbers.shape == batch.status.shape == (len(batch.numeric), rows)
    assert np.isfinite(batch.numbers).all()
    assert (batch.status <= INVALID).all()
    assert not batch.numbers[batch.status != 0].any()
    for categories in [*batch.categories, *(batch.segments or {}).values()]:
        assert len(categories.codes) == rows
        assert rows == 0 or categories.codes.min() >= CODE_INVALID
        assert rows == 0 or categories.codes.max() < len(categories.values)
        assert categories.values.null_count == 0
    assert all(len(state) == rows for _, state in batch.vectors)
    assert all(len(lists) == rows for lists in batch.lists.values())
