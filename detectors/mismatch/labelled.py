"""Values that differ by a rule which needs no numbers: always the same one, spelled otherwise, recoded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from detectors.mismatch.explained import Explained, Rows
from detectors.mismatch.values import Type, Values
from detectors.tensor import IntArray

_ROWS_PER_NAME = 3  # on average; fewer fit any rule


def found(rows: Rows, left: IntArray) -> Iterator[Explained]:
    """Find rules about values as people read them; see `detectors.mismatch.numeric.found`."""
    if not len(left):
        return
    training, events = rows.training.take(left), rows.events.take(left)
    yield from _constant("events always have", left, events, training)
    yield from _constant("the table always has", left, training, events)
    one, other = training.type == Type.TEXT, events.type == Type.TEXT
    yield from _spelling(left[one & other], training.texts, events.texts, one & other)
    yield from _recoded(left[one | other], training.labels(), events.labels(), one | other)


def most_common(values: Values) -> tuple[str, NDArray[np.bool_]]:
    """Find the value that is there most often, of equally frequent ones the first by name.

    Returns
    -------
    str
        As people read it, texts in quotes.
    bool array [n]
        Where it is.

    Examples
    --------
    >>> from detectors.mismatch.values import of_texts
    >>> value, rows = most_common(of_texts(["b", "a", "b"]))
    >>> value, rows.tolist()
    ('"b"', [True, False, True])
    """
    labels = values.labels()
    counts = labels.value_counts()
    table = pa.table({"n": counts.field("counts"), "name": counts.field("values")})
    top = table.sort_by([("n", "descending"), ("name", "ascending")]).column("name")[0]
    fits = pc.equal(labels, top).fill_null(False).to_numpy(zero_copy_only=False)
    is_text = values.type[fits][:1] == Type.TEXT
    return f'"{top.as_py()}"' if is_text.all() else str(top.as_py()), fits


def _constant(words: str, left: IntArray, values: Values, others: Values) -> Iterator[Explained]:
    value, fits = most_common(values)
    if len(others.labels().filter(pa.array(fits)).unique()) > 1:
        yield Explained("constant", f"{words} the same value: {value}", left[fits], shows_values=True)


def _spelling(
    left: IntArray, training: pa.Array, events: pa.Array, is_text: NDArray[np.bool_]
) -> Iterator[Explained]:
    texts = (side.filter(pa.array(is_text)) for side in (training, events))
    one, other = (pc.utf8_lower(pc.utf8_trim_whitespace(side)) for side in texts)
    fits = pc.equal(one, other).to_numpy(zero_copy_only=False)
    yield Explained("spelling", "the texts differ in capitals or in spaces around them alone", left[fits])


def _recoded(
    left: IntArray, training: pa.Array, events: pa.Array, is_name: NDArray[np.bool_]
) -> Iterator[Explained]:
    """Each name stands for another one, and no two for the same."""
    training, events = (side.filter(pa.array(is_name)) for side in (training, events))
    pairs = (
        pa.table({"one": training, "other": events}).group_by(["one", "other"]).aggregate([([], "count_all")])
    )
    if pairs.num_rows < 2:
        return
    usual = pairs.sort_by([("count_all", "descending"), ("one", "ascending"), ("other", "ascending")])
    names, others = (usual.column(side).to_numpy() for side in ("one", "other"))
    of_names, of_others = (np.unique(side, return_index=True)[1] for side in (names, others))
    firsts = np.intersect1d(of_names, of_others)
    chosen = usual.take(pa.array(firsts))
    if chosen.num_rows < 2 or pc.sum(chosen.column("count_all")).as_py() < _ROWS_PER_NAME * chosen.num_rows:
        return
    place = pc.index_in(training, chosen.column("one").combine_chunks())
    expected = chosen.column("other").combine_chunks().take(place)
    fits = pc.equal(expected, events).fill_null(False).to_numpy(zero_copy_only=False)
    shown = f"{names[firsts[0]]!r} → {others[firsts[0]]!r}"
    words = f"each value has another name: {shown} and {chosen.num_rows - 1} more"
    yield Explained("recoded", words, left[fits], shows_values=True)
