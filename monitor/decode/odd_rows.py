"""Finds the JSON objects in which a value is not of the type of its column, all of them at once.

Arrow reads a block of objects as a whole or not at all, and does not say which of them it minds. A regular
expression over the bytes does, without Python objects: it looks for the key of a column with a value that
begins as none of its type does. What it finds may be right after all, and what it does not find may be wrong:
it only sorts objects, and does not read them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

FEWEST = 256  # objects for which an expression is worth being made
_LONGEST = 20_000  # characters of an expression, beyond which it takes too much memory
_MOST_SCHEMAS = 64
# How values begin that are neither null nor of the type.
_WRONG = {
    pa.float64(): r'["tf\[{]',
    pa.int64(): r'(?:["tf\[{]|-?[0-9]+[.eE])',
    pa.string(): r"[-0-9tf\[{]",
    pa.bool_(): r'["0-9\[{-]',
    pa.list_(pa.float64()): r'["0-9tf{-]',
}


def odd_rows(raws: Sequence[Any], schema: pa.Schema) -> NDArray[np.bool_] | None:
    """Which objects seem to hold a value of another type than its column has.

    Parameters
    ----------
    raws : sequence of bytes-like [n]
        JSON objects.
    schema : pa.Schema
        Types of their values, of objects in them as well.

    Returns
    -------
    bool array [n], or None
        None if that cannot be told this way, or is true of most: then it is better to look at each.

    Examples
    --------
    >>> raws = [b'{"x": 1.5}', b'{"x": "n/a"}', b'{"x": null}'] * 100
    >>> odd_rows(raws, pa.schema({"x": pa.float64()}))[:4].tolist()
    [False, True, False, False]
    """
    pattern = _pattern(schema) if len(raws) >= FEWEST else ""
    if not pattern:
        return None
    joined = b"".join(raws)
    ends = np.cumsum(np.fromiter(map(len, raws), np.int64, len(raws)))
    offsets = pa.py_buffer(np.concatenate(([0], ends)))
    objects = pa.Array.from_buffers(pa.large_binary(), len(raws), [None, offsets, pa.py_buffer(joined)])
    odd: NDArray[np.bool_] = pc.match_substring_regex(objects, pattern).to_numpy(zero_copy_only=False)
    return odd if 2 * np.count_nonzero(odd) <= len(odd) else None


@lru_cache(maxsize=_MOST_SCHEMAS)
def _pattern(schema: pa.Schema) -> str:
    """An expression that finds a wrong value; empty if there is none, or it would be too long."""
    kinds: defaultdict[str, set[pa.DataType]] = defaultdict(set)
    _note(schema, kinds)
    names: defaultdict[str, list[str]] = defaultdict(list)
    for name, types in kinds.items():
        if len(types) == 1:  # of a key that stands for several things nothing can be told
            [kind] = types
            if kind in _WRONG:
                names[_WRONG[kind]].append(re.escape(name))
    pattern = "|".join(rf'"(?:{"|".join(keys)})"\s*:\s*{wrong}' for wrong, keys in names.items())
    return pattern if len(pattern) <= _LONGEST else ""


def _note(fields: pa.Schema | pa.StructType, kinds: defaultdict[str, set[pa.DataType]]) -> None:
    """Note the types that values of a key have, at any depth."""
    for field in fields:
        kinds[field.name].add(field.type)
        if pa.types.is_struct(field.type):
            _note(field.type, kinds)
