"""Record batches of Arrow: types, limits, and buffers that are damaged."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitor.decode import arrow_limits
from monitor.decode.catalog import build, translated
from monitor.decode.formats import arrow
from monitor.decode.message import Message
from monitor.decode.reading import Reading
from monitor.decode.translated import Translated
from schemas.errors import EventError

MOMENT = datetime(2026, 1, 1, 10, 30, 15, tzinfo=UTC)


def stream(table: pa.Table, **options: Any) -> bytes:
    """Write a stream; a table may have several batches."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def file(table: pa.Table) -> bytes:
    """Write a file."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def read(value: bytes, headers: Any = (), format_: str = "auto", **options: Any) -> list[dict[str, Any]]:
    """Events of a message."""
    reading = Reading(**{"model": "m", **options})
    path, events = translated(format_, reading).translate(Message(value, headers, 1), "predictions")
    assert path == "arrow"
    return events


@pytest.mark.parametrize("write", [stream, file])
def test_rows_of_several_batches(write: Any) -> None:
    parts = [pa.table({"event_id": [f"{at}a", f"{at}b"], "prediction": [at, None]}) for at in range(3)]
    events = read(write(pa.concat_tables(parts)))
    assert [event["event_id"] for event in events] == ["0a", "0b", "1a", "1b", "2a", "2b"]
    assert [event.get("prediction") for event in events] == [0, None, 1, None, 2, None]


@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York", "+05:30", "Nowhere/At-All"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_timestamps_of_any_unit(unit: str, zone: str | None) -> None:
    stamps = pa.array([MOMENT], pa.timestamp("us", "UTC")).cast(pa.timestamp(unit, zone))
    table = pa.table({"event_id": ["a"], "timestamp": stamps, "prediction": [1], "seen": stamps})
    [event] = read(stream(table))
    assert event["timestamp"] == event["features"]["seen"] == "2026-01-01T10:30:15+00:00"
    found = build("arrow", Reading(model="m")).decode([stream(table)])
    assert found.event_ms.tolist() == [int(MOMENT.timestamp() * 1000)]


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_timestamps_that_no_calendar_has(unit: str) -> None:
    stamps = pa.array([2**62], pa.int64()).cast(pa.timestamp(unit))
    with pytest.raises(EventError, match=r"^arrow: "):
        read(stream(pa.table({"event_id": ["a"], "timestamp": stamps, "prediction": [1]})))


def test_types_of_features() -> None:
    columns = {
        "price": pa.array([Decimal("12.50")]),
        "half": pa.array(np.array([1.5], np.float16)),
        "day": pa.array([date(2026, 1, 2)]),
        "colour": pa.array(["red"]).dictionary_encode(),
        "many": pa.array([[1, 2]]),
        "map": pa.array([[("k", 1.5)]], pa.map_(pa.string(), pa.float64())),
        "view": pa.array(["x" * 40], pa.string_view()),
        "raw": pa.array([b"\xff"]),
        "none": pa.nulls(1),
        "nan": pa.array([float("nan")]),
    }
    table = pa.table({"event_id": pa.array([7]), "prediction": pa.array([True]), **columns})
    for value in (
        stream(table),
        stream(table, compression="zstd"),
        stream(table, compression="lz4"),
        file(table),
    ):
        [event] = read(value)
        assert (event["event_id"], event["prediction"]) == ("7", True)
        assert np.isnan(event["features"].pop("nan"))
        assert event["features"] == {
            "price": 12.5, "half": 1.5, "day": "2026-01-02T00:00:00Z", "colour": "red", "many": [1, 2],
            "map": {"k": 1.5}, "view": "x" * 40, "raw": None, "none": None,
        }  # fmt: skip
        assert not build("arrow", Reading(model="m")).decode([value]).problems


def test_features_of_their_own_column() -> None:
    row = {
        "event_id": "a", "prediction": 1, "scores": {"x": 0.25, "y": 0.75}, "tags": {"region": "eu"},
        "role": "challenger", "note": "left out", "features": {"age": 40, "city": "Ulm"},
    }  # fmt: skip
    [event] = read(stream(pa.Table.from_pylist([row])))
    assert event == {"model": "m", "timestamp": 1, **{k: v for k, v in row.items() if k != "note"}}
    [chosen] = read(stream(pa.Table.from_pylist([row])), inputs=("age", "height"))
    assert chosen["features"] == {"age": 40, "height": None}
    found = build("arrow", Reading(model="m")).decode([stream(pa.Table.from_pylist([row]))])
    assert (found.role, found.tags) == (["challenger"], [{"region": "eu"}])


NEVER = pa.array([2**62, 2**62], pa.timestamp("s"))  # later than any calendar goes
ROWS = {"event_id": ["a", "b"], "prediction": [1, 0]}


@pytest.mark.parametrize(
    ("columns", "inputs"),
    [
        ({"features": pa.array([{"x": 1.5}, None]), "times": NEVER}, ()),
        ({"features": pa.array([{"x": 1.5}, None]), "times": NEVER}, ("x", "times")),
        ({"x": [1.5, None], "times": NEVER}, ("x",)),
        ({"features": pa.StructArray.from_arrays([pa.array([1.5, None]), NEVER], ["x", "times"])}, ("x",)),
    ],
)
def test_columns_that_no_event_is_made_of_need_not_be_readable(
    columns: dict[str, Any], inputs: tuple[str, ...]
) -> None:
    value = stream(pa.table(ROWS | columns))
    events = read(value, inputs=inputs)
    assert [event.get("features", {}).get("x") for event in events] == [1.5, None]
    formats = (arrow.Arrow(),)
    for in_columns in (True, False):
        reader = Translated(formats, Reading(model="m", inputs=inputs), in_columns=in_columns)
        found = reader.decode([value])
        assert (list(found.event_id), found.problems) == (["a", "b"], [])
    told = stream(pa.table(ROWS | {"x": [1.5, None], "times": NEVER}))
    assert build("arrow", Reading(model="m")).decode([told]).problems  # there it is a feature


def test_a_zone_whose_name_is_no_text_does_not_matter() -> None:
    stamps = pa.array([MOMENT] * 2, pa.timestamp("ms", "Europe/Berlin"))
    value = stream(pa.table(ROWS | {"timestamp": stamps, "x": [1.5, 2.5]}))
    hostile = value.replace(b"Europe/Berlin", b"Europe/B\xffrlin")
    assert hostile != value
    for in_columns in (True, False):
        reader = Translated((arrow.Arrow(),), Reading(model="m"), in_columns=in_columns)
        found = reader.decode([value, hostile])
        assert (found.row.tolist(), found.problems) == ([0, 0, 1, 1], [])
        assert set(found.event_ms.tolist()) == {int(MOMENT.timestamp() * 1000)}


def test_inputs_that_are_not_there() -> None:
    table = pa.table(ROWS | {"features": pa.array([{"y": 1.5}, None])})
    events = read(stream(table), inputs=("x",))
    assert [event.get("features") for event in events] == [{"x": None}, None]
    nameless = stream(pa.table({"y": [1.5, 2.5]}))
    assert read(nameless, inputs=("x",)) == [{"model": "m", "timestamp": 1, "features": {"x": None}}] * 2


def test_a_header_is_enough_to_say_what_it_is() -> None:
    with pytest.raises(EventError, match=r"^arrow: "):
        read(b"junk", [("content-type", b"application/vnd.apache.arrow.stream")])


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"event_id": [str(at) for at in range(60)], "prediction": [1] * 60})
    monkeypatch.setattr(arrow, "_MOST_ROWS", 100)
    assert len(read(stream(table))) == 60
    with pytest.raises(EventError, match="arrow: more than 100 rows in one message"):
        read(stream(pa.concat_tables([table, table])))
    with pytest.raises(EventError, match="arrow: more than 100 rows in one message"):
        read(file(pa.concat_tables([table, table])))
    monkeypatch.setattr(arrow_limits, "MOST_BYTES", 100)
    with pytest.raises(EventError, match="arrow: more than 0 MiB in one message"):
        read(stream(table))


def test_what_would_be_unpacked_to_more_than_is_allowed() -> None:
    """Twenty thousand times as much as the message, which the message says itself."""
    table = pa.table({"event_id": ["a"], "prediction": [1], "x": [b"\0" * (300 << 20)]})
    for value in (
        stream(table, compression="zstd"),
        stream(table.rename_columns(["event_id", "y", "x"]), compression="lz4"),
    ):
        assert len(value) < 2 << 20
        before = pa.default_memory_pool().bytes_allocated()
        with pytest.raises(EventError, match="arrow: more than 256 MiB in one message"):
            read(value)
        assert pa.default_memory_pool().bytes_allocated() - before < 10 << 20
    words = pa.array(["a" * (300 << 20)]).dictionary_encode()
    with pytest.raises(EventError, match="arrow: more than 256 MiB in one message"):
        read(stream(pa.table({"event_id": ["a"], "x": words}), compression="zstd"))


def test_values_that_stand_in_many_rows() -> None:
    rows, text = 5_000, "a" * 100_000
    ids = [str(at) for at in range(rows)]
    dictionary = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), [text])
    one = pa.array([text], pa.string_view()).buffers()
    views = np.tile(np.frombuffer(one[1], np.uint8), rows)
    view = pa.Array.from_buffers(pa.string_view(), rows, [None, pa.py_buffer(views), *one[2:]])
    inside = pa.StructArray.from_arrays([dictionary], ["d"])
    for column in (dictionary, view, inside):
        value = stream(pa.table({"event_id": ids, "prediction": [1] * rows, "x": column}))
        assert len(value) < 1 << 20
        with pytest.raises(EventError, match="arrow: more than 256 MiB in one message"):
            read(value)
    small = pa.table({"event_id": ids[:3], "prediction": [1] * 3, "x": column[:3]})
    assert len(read(stream(small))) == 3


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (pa.array([[1], [2, 3], None], pa.list_view(pa.int32())), "columns of list_view"),
        (pa.RunEndEncodedArray.from_arrays([2, 3], ["p", "q"]), "columns of run_end_encoded"),
        (pa.UnionArray.from_sparse(pa.array([0] * 3, pa.int8()), [pa.array([1] * 3)]), "columns of sparse"),
        (pa.array([["a"]] * 3, pa.list_(pa.string_view())), "lists of string_view"),
        (pa.array([[{"a": "x"}]] * 3, pa.list_(pa.struct({"a": pa.dictionary(pa.int32(), pa.string())}))),
         "lists of dictionary"),
        (pa.array([None] * 3, pa.list_(pa.null(), 2**24)), "more than 10000000 values in the lists"),
    ],
)  # fmt: skip
def test_types_that_are_not_read(column: pa.Array, reason: str) -> None:
    with pytest.raises(EventError, match=f"arrow: {reason}"):
        read(stream(pa.table({"event_id": ["a", "b", "c"], "x": column})))


def test_types_that_only_arrow_itself_knows() -> None:
    """An interval in another unit; such a message must not keep others from being read together either."""
    good = stream(pa.table({"event_id": ["a"], "prediction": [1]}))
    value = stream(pa.table({"event_id": ["b"], "x": pa.nulls(1, pa.month_day_nano_interval())}))
    units = [at for at, byte in enumerate(value) if byte == 2]
    hostile = [value[:at] + b"\0" + value[at + 1 :] for at in units]
    found = build("arrow", Reading(model="m")).decode([good, *hostile])
    assert found.event_id[0] == "a"
    assert "arrow: a column has a type that is not read" in {reason for _, reason in found.problems}
    messages = {at: Message(one) for at, one in enumerate([good, *hostile])}
    assert 0 in arrow.Arrow().records(messages, Reading(model="m"))[0].message


def test_rows_without_columns_are_too_many_before_they_are_made() -> None:
    schema = pa.schema([])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch(pa.StructArray.from_buffers(pa.struct([]), 2**40, [None])))
    with pytest.raises(EventError, match="arrow: more than 100000 rows"):
        read(bytes(sink.getvalue()))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "arrow: "),
        (b"\xff\xff\xff\xff", "arrow: "),
        (b"ARROW1\x00\x00", "arrow: "),
        (stream(pa.table({"event_id": pa.array([], pa.string())})), "arrow: there is no event in it"),
        (stream(pa.Table.from_arrays([pa.array([1])] * 2, ["a", "a"])), "several columns have the same name"),
    ],
)
def test_what_holds_no_events(value: bytes, reason: str) -> None:
    with pytest.raises(EventError, match=reason):
        read(value, format_="arrow")


def test_damaged_buffers_are_dead_letters_and_nothing_worse() -> None:
    """Offsets, lengths, validity and dictionaries that point anywhere at all."""
    table = pa.table(
        {
            "event_id": ["a", "b", None],
            "timestamp": pa.array([1, 2, 3], pa.timestamp("ns", "UTC")),
            "prediction": [1.5, 2.0, None],
            "lists": [[1, 2], None, [3]],
            "map": pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int64())),
            "dictionary": pa.array(["x", "y", "x"]).dictionary_encode(),
            "struct": [{"a": 1, "b": "x"}] * 3,
            "view": pa.array(["a", None, "c" * 60], pa.string_view()),
        }
    )
    whole = [stream(table), stream(table, compression="zstd"), stream(table, compression="lz4"), file(table)]
    rng, decoder = np.random.default_rng(20), build("arrow", Reading(model="m"))
    values = []
    for _ in range(2_000):
        value = bytearray(whole[rng.integers(len(whole))])
        for at in rng.integers(0, len(value), rng.integers(1, 5)).tolist():
            value[at] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, int(rng.integers(256))]))
        values.append(bytes(value[: None if rng.random() < 0.9 else rng.integers(len(value))]))
    found = decoder.decode(values)
    assert {*found.row.tolist(), *(row for row, _ in found.problems)} == set(range(len(values)))
    assert len(found.problems) > 500
