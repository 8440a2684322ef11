"""Values of one column with the types that they were logged in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from detectors.hashing import combine_hashes, hash_numbers, hash_strings
from detectors.tensor import FloatArray, HashArray

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"
_CODE = r"^[+-]?0[0-9]"  # 007 is no number: no program writes one so
_TRUTHS = pa.array(["false", "true"])


class Type(IntEnum):
    """What a value was logged as."""

    MISSING = 0
    NUMBER = 1
    TEXT = 2
    TRUTH = 3
    LIST = 4

    @property
    def words(self) -> str:
        """What people call it."""
        return {Type.TRUTH: "true or false", Type.LIST: "a list"}.get(self, f"a {self.name.lower()}")


@dataclass(frozen=True)
class Values:
    """Values of one column.

    Parameters
    ----------
    type : uint8 array [n]
        A `Type` each.
    numbers : float64 array [n]
        Numbers; truth values as 1 and 0; 0 for all others.
    texts : Arrow string array [n]
        Texts; null for all others.
    """

    type: NDArray[np.uint8]
    numbers: FloatArray
    texts: pa.Array

    def __len__(self) -> int:
        return len(self.type)

    @property
    def is_present(self) -> NDArray[np.bool_]:
        """Whether there is a value, for each row."""
        return np.asarray(self.type != Type.MISSING)

    def take(self, rows: NDArray[np.int64]) -> Values:
        """Pick rows, in the given order."""
        return Values(self.type[rows], self.numbers[rows], self.texts.take(pa.array(rows, pa.int64())))

    def meaning(self) -> FloatArray:
        """Numbers [n] that values stand for, whatever their type; NaN for none.

        Examples
        --------
        >>> of_texts(["1", "1.50", "true", "007", "x", None]).meaning().tolist()
        [1.0, 1.5, 1.0, nan, nan, nan]
        """
        found = np.where((self.type == Type.NUMBER) | (self.type == Type.TRUTH), self.numbers, np.nan)
        rows = np.flatnonzero(self.type == Type.TEXT)
        if len(rows):
            encoded = self.texts.take(pa.array(rows)).dictionary_encode()
            found[rows] = _read(encoded.dictionary)[encoded.indices.to_numpy()]
        return found

    def labels(self) -> pa.Array:
        """Values as people read them; null where there is none. Arrow strings [n].

        Examples
        --------
        >>> of_numbers([7.0, 0.1, 2.5e20, np.nan]).labels().to_pylist(), of_texts(["x"]).labels().to_pylist()
        (['7', '0.1', '2.5e+20', None], ['x'])
        """
        of_numbers = pa.array(self.numbers).cast(pa.string())
        of_truths = _TRUTHS.take(pa.array((self.numbers != 0).astype(np.int64)))
        listed = pa.array(np.full(len(self), "a list"), pa.string())
        nothing = pa.scalar(None, pa.string())
        found = self.texts
        for kind, labels in ((Type.NUMBER, of_numbers), (Type.TRUTH, of_truths), (Type.LIST, listed)):
            found = pc.coalesce(found, pc.if_else(pa.array(self.type == kind), labels, nothing))
        return found


def of_numbers(values: Sequence[float] | FloatArray) -> Values:
    """Make values of numbers; NaN is missing."""
    numbers = np.asarray(values, np.float64)
    missing = np.isnan(numbers)
    kinds = np.where(missing, Type.MISSING, Type.NUMBER).astype(np.uint8)
    return Values(kinds, np.where(missing, 0.0, numbers), pa.nulls(len(numbers), pa.string()))


def of_texts(texts: Sequence[str | None] | pa.Array) -> Values:
    """Make values of texts; None is missing."""
    column = pa.array(texts, pa.string())
    missing = column.is_null().to_numpy(zero_copy_only=False)
    kinds = np.where(missing, Type.MISSING, Type.TEXT).astype(np.uint8)
    return Values(kinds, np.zeros(len(column)), column)


def missing(rows: int) -> Values:
    """Make rows without values."""
    return Values(np.zeros(rows, np.uint8), np.zeros(rows), pa.nulls(rows, pa.string()))


def concatenate(parts: Sequence[Values]) -> Values:
    """Put values of a column together, in their order."""
    return Values(
        np.concatenate([part.type for part in parts]) if parts else np.zeros(0, np.uint8),
        np.concatenate([part.numbers for part in parts]) if parts else np.zeros(0),
        pa.concat_arrays([part.texts for part in parts]) if parts else pa.array([], pa.string()),
    )


def fingerprints(columns: dict[str, Values], rows: int) -> HashArray:
    """Hash whole rows: equal rows have equal hashes, whatever columns without a value stand beside.

    Returns
    -------
    uint64 array [rows]
    """
    total = np.zeros(rows, np.uint64)
    for name, values in columns.items():
        told = np.where(values.type == Type.TEXT, hash_strings(values.texts), hash_numbers(values.numbers))
        word = combine_hashes(np.repeat(hash_strings(pa.array([name])), rows), told)
        word = combine_hashes(word, values.type.astype(np.uint64))
        total += np.where(values.is_present, word, np.uint64(0))
    return total


def _read(texts: pa.Array) -> FloatArray:
    """Read texts that are numbers or truth values; NaN for others."""
    is_number = pc.and_(
        pc.match_substring_regex(texts, _NUMBER), pc.invert(pc.match_substring_regex(texts, _CODE))
    )
    numbers = pc.if_else(is_number, texts, pa.scalar(None, pa.string())).cast(pa.float64())
    truth = pc.index_in(pc.utf8_lower(texts), _TRUTHS).cast(pa.float64())
    found: FloatArray = pc.coalesce(numbers, truth).to_numpy(zero_copy_only=False)
    return found
