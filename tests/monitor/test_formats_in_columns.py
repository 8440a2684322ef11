"""Messages that are read many at a time: the same comes out as one by one, whatever is in them."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import fastavro
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from monitor.decode.catalog import every
from monitor.decode.columns import Columns
from monitor.decode.envelope import Envelopes
from monitor.decode.features import FeatureDecoder, Features
from monitor.decode.message import Message
from monitor.decode.reading import Reading
from monitor.decode.registry import KnownSchemas, Schema
from monitor.decode.translated import Translated
from tests.monitor.test_formats_arrow import stream

STAMP = 1_767_225_600_000
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}

# --- Avro: schemas with what is read at once and what is not ----------------------------------------------

TEXTS = st.text(max_size=5)
ENUM = {"type": "enum", "name": "Colour", "symbols": ["RED", "GREEN"]}
SIMPLE: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "double": ("double", st.floats()),
    "float": ("float", st.floats(width=32)),
    "int": ("int", st.integers(-(2**31), 2**31 - 1)),
    "long": ("long", st.integers(-(2**63), 2**63 - 1)),
    "boolean": ("boolean", st.booleans()),
    "string": ("string", TEXTS),
    "java": ({"type": "string", "avro.java.string": "String"}, TEXTS),
    "enum": (ENUM, st.sampled_from(["RED", "GREEN"])),
    "null": ("null", st.none()),
}
STRANGE: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "bytes": ("bytes", st.binary(max_size=4)),
    "array": ({"type": "array", "items": "double"}, st.lists(st.floats(), max_size=3)),
    "map": ({"type": "map", "values": "long"}, st.dictionaries(TEXTS, st.integers(0, 9), max_size=2)),
    "union": (["string", "long"], st.integers(0, 99) | TEXTS),
    "date": ({"type": "int", "logicalType": "date"}, st.integers(0, 20_000)),
    "record": (
        {"type": "record", "name": "Inner", "fields": [{"name": "a", "type": "double"}]},
        st.fixed_dictionaries({"a": st.floats()}),
    ),
}  # fmt: skip


@st.composite
def kinds(draw: st.DrawFn, *, is_simple: bool = True) -> tuple[Any, st.SearchStrategy[Any]]:
    """A type with its values, perhaps with null."""
    known = SIMPLE if is_simple else STRANGE
    name = draw(st.sampled_from(sorted(known)))
    type_, values = known[name]
    if name in ("null", "union") or draw(st.booleans()):
        return type_, values
    return (["null", type_] if draw(st.booleans()) else [type_, "null"]), values | st.none()


@st.composite
def avro_messages(draw: st.DrawFn) -> tuple[Schema, list[bytes]]:
    """A schema of events, and messages that follow it, or do not quite."""
    fields: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
        "event_id": ("string", st.text(min_size=1, max_size=6)),
        "model": draw(
            st.sampled_from([("string", st.just("m")), (["null", "string"], st.none() | st.just("n"))])
        ),
        "timestamp": draw(st.sampled_from([
            ("long", st.integers(0, 2**45)), (MILLIS, st.integers(0, 2**45)),
            ({"type": "long", "logicalType": "timestamp-micros"}, st.integers(0, 2**53)),
            (["null", MILLIS], st.none() | st.integers(0, 2**41)),
            ("string", st.just("2026-01-01T00:00:00Z") | TEXTS),
        ])),
        "prediction": draw(kinds()),
        "score": draw(
            st.sampled_from([("double", st.floats()), (["null", "float"], st.none() | st.floats(width=32))])
        ),
    }  # fmt: skip
    if draw(st.booleans()):
        fields["version"] = draw(st.sampled_from([("string", TEXTS), ("int", st.integers(0, 9))]))
        fields["error"] = (["null", "string"], st.none() | TEXTS)
        fields["role"] = ("string", st.sampled_from(["champion", "shadow", "wrong"]))
    for name in draw(st.sets(st.sampled_from(["label", "latency_ms", "tags", "region"]), max_size=2)):
        fields[name] = draw(kinds(is_simple=draw(st.booleans())))
    features = {
        f"x{at}": draw(kinds(is_simple=draw(st.integers(0, 9)) > 0)) for at in range(draw(st.integers(0, 6)))
    }
    inner = {"type": "record", "name": "Features", "fields": _listed(features)}
    listed = [*_listed(fields), {"name": "features", "type": inner}]
    order = draw(st.permutations(range(len(listed))))
    schema = {"type": "record", "name": "E", "fields": [listed[at] for at in order]}
    values = st.fixed_dictionaries(
        {**{name: its for name, (_, its) in fields.items()},
         "features": st.fixed_dictionaries({name: its for name, (_, its) in features.items()})}
    )  # fmt: skip
    text = _once(schema)
    parsed = fastavro.parse_schema(json.loads(text))
    messages = []
    for value in draw(st.lists(values, min_size=1, max_size=25)):
        sink = io.BytesIO()
        fastavro.schemaless_writer(sink, parsed, value)
        messages.append(b"\0\0\0\0\7" + sink.getvalue())
    return Schema("AVRO", text), draw(damaged(messages))


def _listed(fields: dict[str, tuple[Any, Any]]) -> list[dict[str, Any]]:
    return [{"name": name, "type": type_} for name, (type_, _) in fields.items()]


def _once(schema: Any) -> str:
    """Write a schema; a type with a name is written the first time, and named after that."""
    seen: set[str] = set()

    def named(node: Any) -> Any:
        if isinstance(node, list):
            return [named(one) for one in node]
        if (
            isinstance(node, dict)
            and "name" in node
            and "type" in node
            and node["type"] in ("enum", "record")
        ):
            if node["name"] in seen:
                return node["name"]
            seen.add(node["name"])
        return {key: named(item) for key, item in node.items()} if isinstance(node, dict) else node

    return json.dumps(named(schema))


@st.composite
def damaged(draw: st.DrawFn, messages: list[bytes]) -> list[bytes]:
    """Some messages are cut off, go on, or have a wrong byte."""
    found = list(messages)
    for at in draw(st.sets(st.integers(0, len(messages) - 1), max_size=2)):
        value = messages[at]
        place = draw(st.integers(5, max(len(value) - 1, 5)))
        byte = bytes([draw(st.integers(0, 255))])
        found[at] = draw(
            st.sampled_from([value[:place], value + byte, value[:place] + byte + value[place + 1 :]])
        )
    return found


# --- Arrow ------------------------------------------------------------------------------------------------

COLUMNS: tuple[tuple[Any, st.SearchStrategy[Any]], ...] = (
    (pa.float64(), st.floats()),
    (pa.float32(), st.floats(width=32)),
    (pa.int8(), st.integers(-128, 127)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.bool_(), st.booleans()),
    (pa.string(), TEXTS),
    (pa.large_string(), TEXTS),
    (pa.dictionary(pa.int8(), pa.string()), TEXTS),
    (pa.null(), st.none()),
    (pa.binary(), st.binary(max_size=3)),
    (pa.list_(pa.float64()), st.lists(st.floats(), max_size=2)),
    (pa.timestamp("ms", "UTC"), st.datetimes()),
    (pa.struct({"a": pa.float64()}), st.fixed_dictionaries({"a": st.floats()})),
    (pa.map_(pa.string(), pa.int64()), st.just([("k", 1)])),
)
TIMES: tuple[Any, ...] = (
    *(pa.timestamp(unit) for unit in ("s", "ms", "us", "ns")),
    pa.timestamp("us", "+01:00"),
    pa.int64(),
)


@st.composite
def arrays(draw: st.DrawFn, rows: int, *, is_simple: bool) -> pa.Array:
    """A column, perhaps with nulls."""
    kind, values = draw(st.sampled_from(COLUMNS[:10] if is_simple else COLUMNS))
    if draw(st.booleans()):
        values |= st.none()
    return pa.array(draw(st.lists(values, min_size=rows, max_size=rows)), kind)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Events with columns of any type."""
    rows = draw(st.integers(0, 20))
    is_simple = draw(st.integers(0, 4)) > 0
    numbers = draw(st.lists(st.integers(-5, 2**48), min_size=rows, max_size=rows))
    columns = {
        "event_id": pa.array(range(rows), pa.int32()).cast(draw(st.sampled_from([pa.int32(), pa.string()]))),
        "prediction": draw(arrays(rows, is_simple=is_simple)),
        "timestamp": pa.array(numbers, pa.int64()).cast(draw(st.sampled_from(TIMES))),
    }  # fmt: skip
    for name in draw(
        st.sets(st.sampled_from(["score", "error", "model", "version", "role", "tags", "label"]), max_size=3)
    ):
        columns[name] = draw(arrays(rows, is_simple=is_simple))
    features = {f"x{at}": draw(arrays(rows, is_simple=is_simple)) for at in range(draw(st.integers(0, 5)))}
    if not draw(st.booleans()):
        return pa.table(columns | features)
    mask = pa.array(draw(st.lists(st.booleans(), min_size=rows, max_size=rows)), pa.bool_())
    nested = (
        pa.StructArray.from_arrays(list(features.values()), list(features), mask=mask) if features else None
    )
    return pa.table(columns | ({} if nested is None else {"features": nested}))


# --- what comes out ---------------------------------------------------------------------------------------


def both(
    name: str, reading: Reading, values: Sequence[bytes], headers: Any = ()
) -> tuple[Envelopes, Envelopes]:
    """Messages read many at a time, and one by one."""
    chosen = tuple(one for one in every() if name in (one.name, "auto"))

    def about(at: int) -> Message:
        return Message(values[at], headers, STAMP)

    fast, slow = (Translated(chosen, reading, in_columns=in_columns) for in_columns in (True, False))
    return fast.decode(values, about), slow.decode(values, about)


def same(fast: Envelopes, slow: Envelopes) -> None:
    """Both say the same, also of the features once their columns are known."""
    assert fast.row.tolist() == slow.row.tolist()
    assert fast.problems == slow.problems
    for name in fast.__dataclass_fields__:
        if name not in ("row", "problems", "features"):
            assert repr(list(getattr(fast, name))) == repr(list(getattr(slow, name))), name
    decoders = [FeatureDecoder(Columns({}, 500)) for _ in range(2)]
    for _ in range(2):
        found = [decoder.decode(one.features) for decoder, one in zip(decoders, (fast, slow), strict=True)]
        assert shown(found[0][0]) == shown(found[1][0])
        assert found[0][1].tolist() == found[1][1].tolist()
        assert found[0][2] == found[1][2]
    assert decoders[0].columns.now.columns == decoders[1].columns.now.columns


def shown(features: Features) -> dict[str, Any]:
    """Features, with the texts of categories in place of their codes."""
    texts = [[*one.values.to_pylist(), "(invalid)", "(missing)"] for one in features.categories]
    return {
        "numeric": features.numeric,
        "numbers": repr(features.numbers.tolist()),
        "status": features.status.tolist(),
        "categorical": features.categorical,
        "categories": [
            [text[code] for code in one.codes.tolist()]
            for text, one in zip(texts, features.categories, strict=True)
        ],
        "vectors": [(spec, state.tolist()) for spec, state in features.vectors],
        "lists": {name: repr(lists.array().to_pylist()) for name, lists in features.lists.items()},
    }


@given(made=avro_messages(), name=st.sampled_from(["registry", "auto"]))
def test_avro(made: tuple[Schema, list[bytes]], name: str) -> None:
    schema, values = made
    same(*both(name, Reading(model="m", registry=KnownSchemas({7: schema})), values))


OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"inputs": ("x1", "x9")},
    {"fields": {"prediction": "x0"}},
    {"version": "3"},
)


@given(
    several=st.lists(tables(), min_size=1, max_size=3),
    times=st.integers(1, 2),
    name=st.sampled_from(["arrow", "auto"]),
    options=st.sampled_from(OPTIONS),
)
def test_arrow(several: list[pa.Table], times: int, name: str, options: dict[str, Any]) -> None:
    values = [stream(table) for table in several] * times
    same(*both(name, Reading(model="m", **options), values))


@given(data=st.binary(max_size=40), made=avro_messages())
def test_messages_of_both_kinds_keep_their_order(data: bytes, made: tuple[Schema, list[bytes]]) -> None:
    schema, values = made
    table = pa.table({"event_id": ["a", "b"], "prediction": [1, 2], "x": [1.5, None]})
    native = b'{"event_id": "n", "model": "m", "timestamp": 5, "prediction": 1, "features": {"x0": 1.5}}'
    mixed = [stream(table), native, *values, data, native, stream(table.slice(0, 0)), *values[:1]]
    same(*both("auto", Reading(model="m", registry=KnownSchemas({7: schema})), mixed))
