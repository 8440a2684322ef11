"""Features come out as a plain JSON reader would give them, whatever else is in the batch."""

import json
import math
from typing import Any

import msgspec
import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from monitor.decode.columns import LONGEST_NAME, Columns
from monitor.decode.features import FeatureDecoder, Features
from schemas.batch import CODE_INVALID, CODE_MISSING, INVALID, MISSING, OK
from schemas.column import Kind

NAMES = ["a", "b", "a.b", "score", "ü", "with space", "nul\0", "x" * 501, '"\\', "\u2028"]
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.sampled_from([10**400, -(10**400), 10**4200, 0, 2**53 + 1, 10**15, 10**16]),
    st.floats(allow_nan=False, allow_infinity=False),
)
TEXTS = st.one_of(
    st.sampled_from(["", "UA", "\0", "\ufffd", "a\0b", "1", "true", "\n", "é"]), st.text(max_size=5)
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    TEXTS,
    st.lists(st.one_of(st.none(), st.floats(-9, 9), st.text(max_size=2))),
)
OBJECTS = st.recursive(
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4),
    lambda inner: st.dictionaries(st.sampled_from(NAMES), st.one_of(VALUES, inner), max_size=3),
    max_leaves=6,
)


def dumps(value: Any) -> bytes:
    """Write JSON with integers of any length."""
    if isinstance(value, dict):
        return b"{" + b",".join(json.dumps(k).encode() + b" :\n" + dumps(v) for k, v in value.items()) + b"}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**4000:
        return b"1" + b"0" * 5000
    return json.dumps(value, ensure_ascii=False).encode()


def flat(value: dict[str, Any], above: tuple[str, ...] = ()) -> dict[str, Any]:
    """Dotted names; of two that are alike the deeper one wins, as the later one does in JSON."""
    found: dict[str, Any] = {}
    below: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, dict):
            below |= flat(item, (*above, key))
        else:
            name = ".".join((*above, key))
            found[f"feature.{name}" if f"{name}.".startswith("score.") else name] = item
    return found | below


def number(value: Any) -> tuple[float, int]:
    """Value and status of a numeric column."""
    if value is None:
        return 0.0, MISSING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0, INVALID
    if abs(value) > 1.7976931348623157e308:
        return 0.0, INVALID
    return float(value), OK


def text(value: Any, reads_floats: bool) -> str | int:
    """Name or code of a category."""
    if value is None:
        return CODE_MISSING
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and reads_floats:
        value = float(value) if abs(value) < 1e308 else math.inf
    if isinstance(value, float):
        if math.isinf(value):
            return CODE_INVALID
        return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**40 else CODE_INVALID
    return value.replace("\0", "\ufffd") if isinstance(value, str) else CODE_INVALID


def check(features: Features, rows: list[dict[str, Any]], decoder: FeatureDecoder) -> None:
    """Compare every value with what the oracle says of it alone."""
    flats = [flat(row) for row in rows]
    for spec, numbers, status in zip(features.numeric, features.numbers, features.status, strict=True):
        wanted = [number(row.get(spec.name)) for row in flats]
        assert list(zip(numbers.tolist(), status.tolist(), strict=True)) == wanted, spec
    for spec, categories in zip(features.categorical, features.categories, strict=True):
        names = categories.values.to_pylist()
        assert len(set(names)) == len(names)
        assert None not in names
        reads_floats = str(decoder.columns.now.columns[spec.name].type) == "double"
        got = [code if code < 0 else names[code] for code in categories.codes.tolist()]
        assert got == [text(row.get(spec.name), reads_floats) for row in flats], spec
    for spec, status in features.vectors:
        wanted_status = [
            MISSING if row.get(spec.name) is None else OK if isinstance(row[spec.name], list) else INVALID
            for row in flats
        ]
        assert status.tolist() == wanted_status, spec


def unique(rows: list[dict[str, Any]]) -> bool:
    """Whether no row has two values of one dotted name."""

    def names(value: dict[str, Any], above: str = "") -> list[str]:
        found: list[str] = []
        for key, item in value.items():
            found += names(item, f"{above}{key}.") if isinstance(item, dict) else [f"{above}{key}"]
        return found

    return all(len(set(names(row))) == len(names(row)) for row in rows)


KINDS = [{}, {"a": Kind.CATEGORICAL}, {"a": Kind.NUMERIC, "b": Kind.VECTOR}]


@given(st.lists(OBJECTS.filter(lambda row: unique([row])), min_size=1, max_size=12), st.sampled_from(KINDS))
@example([{"a": 0.0}, {"a": -0.0}, {"a": 1.5}], {"a": Kind.CATEGORICAL})
@example([{"a": "\0"}, {"a": "\ufffd"}, {"a": "x"}], {})
@example([{"a": 1.5}, {"a": 10**4200}, {"a": "x"}], {})
@example([{"a": 1.5}, {"a": 2**64}, {"a": 1}], {"a": Kind.CATEGORICAL})
def test_every_value_is_what_a_plain_reader_says(rows: list[dict[str, Any]], kinds: dict[str, Kind]) -> None:
    decoder = FeatureDecoder(Columns(kinds, 500))
    raws = [msgspec.Raw(dumps(row)) for row in rows]
    for _ in range(2):  # the second time all columns are known
        features, read, problems = decoder.decode(raws)
        assert read.tolist() == list(range(len(rows)))
        assert problems == []
        check(features, rows, decoder)
    known = {spec.name for spec in (*features.numeric, *features.categorical)} | {
        s.name for s, _ in features.vectors
    }
    seen = {name for row in rows for name, value in flat(row).items() if value is not None}
    assert known == {name for name in seen if "\0" not in name and len(name) <= LONGEST_NAME}


@given(st.lists(OBJECTS.filter(lambda row: unique([row])), min_size=2, max_size=10), st.integers(1, 9))
def test_neighbours_do_not_change_a_row(rows: list[dict[str, Any]], cut: int) -> None:
    decoder = FeatureDecoder(Columns({}, 500))
    raws = [dumps(row) for row in rows]
    decoder.decode(raws)
    whole, _, _ = decoder.decode(raws)
    first, _, _ = decoder.decode(raws[:cut])
    rest, _, _ = decoder.decode(raws[cut:])
    assert np.array_equal(whole.numbers, np.hstack([first.numbers, rest.numbers]))
    assert np.array_equal(whole.status, np.hstack([first.status, rest.status]))
    for one, a, b in zip(whole.categories, first.categories, rest.categories, strict=True):
        assert named(one) == named(a) + named(b)
    for (_, all_), (_, left), (_, right) in zip(whole.vectors, first.vectors, rest.vectors, strict=True):
        assert all_.tolist() == [*left.tolist(), *right.tolist()]


def named(categories: Any) -> list[Any]:
    """Name of each row's category."""
    names = categories.values.to_pylist()
    return [code if code < 0 else names[code] for code in categories.codes.tolist()]


BROKEN = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        [
            *(b"", b"null", b"[]", b"3", b'{"a":', b'{"a":1}{"a":2}', b'{"a":"\xff"}', b'{"a":NaN}'),
            *(b'{"a":Infinity}', b'{"a":01}', b'{"a":"\\ud800"}', b'{"\\ud800":1}', b'{"a":1,"a":2}'),
            *(b'{"a":{"a":{}}}', b'{"a":"\x01"}', b"\xef\xbb\xbf{}"),
            b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
            b'{"a":' + b"[" * 2_000 + b"]" * 2_000 + b"}",
        ]
    ),
)


def mutated(raw: bytes, at: int, byte: int) -> bytes:
    """Overwrite one byte."""
    at %= max(1, len(raw))
    return raw[:at] + bytes([byte]) + raw[at + 1 :]


OBJECT_BYTES = OBJECTS.map(dumps)
MUTATED = st.builds(mutated, OBJECT_BYTES, st.integers(0, 99), st.integers(0, 255))


@example([b"null", b'{"a":1}'])  # Arrow 26.0.1 ends the process where a block begins with null
@example([b"", b" \t\r\nnull", b'{"a":1}'])
@example([b"\xef\xbb\xbfnull", b'{"a":1}'])
@example([b'{"a":1}', b"\xef\xbb\xbf", b"null"])
@given(st.lists(st.one_of(BROKEN, OBJECT_BYTES, MUTATED), max_size=12))
def test_no_bytes_raise_and_every_row_is_read_or_has_a_reason(raws: list[bytes]) -> None:
    decoder = FeatureDecoder(Columns({}, 500))
    for _ in range(2):
        features, rows, problems = decoder.decode(raws)
        assert sorted([*rows.tolist(), *(row for row, _ in problems)]) == list(range(len(raws)))
        assert all(reason for _, reason in problems)
        assert features.numbers.shape == features.status.shape == (len(features.numeric), len(rows))
        assert np.isfinite(features.numbers).all()
        assert all(len(c.codes) == len(rows) for c in features.categories)
        assert all(len(status) == len(rows) for _, status in features.vectors)
