"""Sums of the predictions by bin and segment: what a change of their mean is taken apart with.

For every bin of every column three numbers are kept of the rows in it: how many there are, Σŷ and Σŷ², with ŷ
the score, or whether the prediction is a given class, or the predicted number, or the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from detectors.binning import Binning
from detectors.gram import Codes
from detectors.sealed import seal_raw, unseal_raw
from detectors.tensor import FloatArray, IntArray
from schemas.batch import OK, Batch
from schemas.column import ColumnSpec, Kind, Source
from schemas.decoding import msgpack_decoder
from schemas.errors import ProfileError, UsageError

_LARGEST = 1e140  # sums of squares of numbers up to here stay finite
_MAGIC = b"DLA1"


@dataclass(frozen=True)
class Outcome:
    """Which number stands for a model's prediction.

    Parameters
    ----------
    column : str
        Name of the column.
    category : str, optional
        For a column of classes: 1 for this one, 0 for the others. None for a numeric column.

    Examples
    --------
    >>> columns = (ColumnSpec("score", Kind.NUMERIC, Source.SCORE), ColumnSpec("temp", Kind.NUMERIC))
    >>> Outcome.of(columns)
    Outcome(column='score', category=None)
    """

    column: str
    category: str | None = None

    @classmethod
    def of(cls, columns: Sequence[ColumnSpec], category: str | None = None) -> Outcome | None:
        """Choose among the columns of a model.

        Parameters
        ----------
        columns : sequence of ColumnSpec
            Of the reference, so that every batch is read in the same way.
        category : str, optional
            The class that matters, if the model predicts classes.

        Returns
        -------
        Outcome or None
            The score (that of the class, if there are several), else whether the class was predicted, else
            the predicted number; None if there is none of them.
        """
        scores = [c.name for c in columns if c.source is Source.SCORE and c.kind is Kind.NUMERIC]
        if scores:
            of_class = f"{Source.SCORE}.{category}"
            return cls(next((name for name in (of_class, str(Source.SCORE)) if name in scores), scores[0]))
        for column in columns:
            if column.source is Source.PREDICTION and column.kind is Kind.NUMERIC:
                return cls(column.name)
            if (
                column.source is Source.PREDICTION
                and column.kind is Kind.CATEGORICAL
                and category is not None
            ):
                return cls(column.name, category)
        return None

    def values(self, batch: Batch) -> FloatArray:
        """ŷ of each row of a batch, ``[n]``; nan where it is missing or invalid."""
        if self.category is None:
            for i, spec in enumerate(batch.numeric):
                if spec.name == self.column:
                    return np.where(batch.status[i] == OK, batch.numbers[i], np.nan)
        for spec, categories in zip(batch.categorical, batch.categories, strict=True):
            if spec.name == self.column and self.category is not None:
                names = categories.values.to_pylist()
                at = names.index(self.category) if self.category in names else len(names)
                return np.where(categories.codes >= 0, categories.codes == at, np.nan)
        return np.full(len(batch), np.nan)


class _State(msgspec.Struct, array_like=True):
    reference_hash: str
    by_group: bool
    parts: tuple[bytes, bytes, bytes, bytes, bytes, bytes]


class CrossCounts:
    """Number, sum and sum of squares of ŷ in every bin of every column, and in every segment.

    Parameters
    ----------
    binning : Binning
        Bins of the reference.
    reference_hash : str
        Hash of the reference that the bins belong to.
    by_group : bool
        Keep the bins of each segment value too, for decompositions within segments and `find_slices`.

    Attributes
    ----------
    n : IntArray
        ``[groups or 1, bins]``: rows with ŷ, the bins of all columns side by side.
    sums, squares : FloatArray
        Σŷ and Σŷ² of the same rows.
    group_n, group_sums, group_squares
        ``[groups]``: the same for all rows of each segment value; the first is all rows.

    Guarantees
    ----------
    Splitting rows and merging in any order gives the same numbers of rows, and the same sums up to rounding
    (exactly, where ŷ are whole numbers or halves, quarters, … of them). Memory is 24 bytes a bin and group,
    whatever the number of rows.
    """

    def __init__(self, binning: Binning, reference_hash: str = "", *, by_group: bool = False) -> None:
        self.binning, self.reference_hash, self.by_group = binning, reference_hash, by_group
        groups = len(binning.groups)
        shape = (groups if by_group else 1, int(binning.offsets[-1]))
        self.n: IntArray = np.zeros(shape, np.int64)
        self.sums: FloatArray = np.zeros(shape)
        self.squares: FloatArray = np.zeros(shape)
        self.group_n: IntArray = np.zeros(groups, np.int64)
        self.group_sums: FloatArray = np.zeros(groups)
        self.group_squares: FloatArray = np.zeros(groups)

    @property
    def rows(self) -> int:
        """Rows with ŷ."""
        return int(self.group_n[0])

    def add(self, codes: Codes, outcome: FloatArray, groups: Sequence[Codes] = ()) -> None:
        """Add rows.

        Parameters
        ----------
        codes : integer array [columns, n]
            Flat bin of each value, a row for each column of the binning.
        outcome : FloatArray
            ``[n]``: ŷ. Rows where it is not finite, or beyond 1e140, are left out.
        groups : sequence of integer arrays [n]
            For each segment column of the binning the group of each row, counted from 0.

        Raises
        ------
        UsageError
            If shapes do not fit the binning or each other.
        """
        self._check(codes, outcome, groups)
        use = np.abs(outcome) <= _LARGEST  # False for nan
        if not use.all():
            codes, outcome = codes[:, use], outcome[use]
            groups = [group[use] for group in groups]
        squares = outcome * outcome
        bins, first = self.n.shape[1], 1
        self._add_all(codes, outcome, squares)
        self.group_n[0] += len(outcome)
        self.group_sums[0] += outcome.sum()
        self.group_squares[0] += squares.sum()
        for segment, group in zip(self.binning.segments, groups, strict=True):
            size = len(segment.names) + 2
            part = slice(first, first + size)
            first += size
            self.group_n[part] += np.bincount(group, minlength=size)
            self.group_sums[part] += np.bincount(group, outcome, size)
            self.group_squares[part] += np.bincount(group, squares, size)
            if self.by_group:
                offset = group * bins
                for row in codes:
                    joint = offset + row
                    self.n[part] += np.bincount(joint, minlength=size * bins).reshape(size, bins)
                    self.sums[part] += np.bincount(joint, outcome, size * bins).reshape(size, bins)
                    self.squares[part] += np.bincount(joint, squares, size * bins).reshape(size, bins)

    def _add_all(self, codes: Codes, outcome: FloatArray, squares: FloatArray) -> None:
        bins = self.n.shape[1]
        flat = codes.ravel()
        self.n[0] += np.bincount(flat, minlength=bins)
        self.sums[0] += np.bincount(flat, np.broadcast_to(outcome, codes.shape).ravel(), bins)
        self.squares[0] += np.bincount(flat, np.broadcast_to(squares, codes.shape).ravel(), bins)

    def _check(self, codes: Codes, outcome: FloatArray, groups: Sequence[Codes]) -> None:
        expected = (len(self.binning.columns), len(outcome))
        if codes.shape != expected:
            msg = f"codes: shape {codes.shape} ({expected} is expected)"
            raise UsageError(msg)
        if len(groups) != len(self.binning.segments) or any(len(group) != len(outcome) for group in groups):
            segments = len(self.binning.segments)
            msg = f"groups: {len(groups)} (one for each of {segments} segment columns, as long as ŷ)"
            raise UsageError(msg)

    def merge(self, *others: CrossCounts) -> None:
        """Add those of other rows.

        Raises
        ------
        ProfileError
            If they are not all on the bins of the same reference, or keep other groups.
        """
        for other in others:
            self.check_same(other)
            for mine, theirs in zip(self.parts, other.parts, strict=True):
                np.add(mine, theirs, out=mine)

    def check_same(self, other: CrossCounts) -> None:
        """Refuse others that are not on the bins of the same reference, or keep other groups."""
        mine, theirs = ((x.reference_hash, x.by_group, x.n.shape, x.group_n.shape) for x in (self, other))
        if mine != theirs:
            msg = f"cross-counts on other bins cannot be used together: {theirs}, where {mine} is expected"
            raise ProfileError(msg)

    @property
    def parts(self) -> tuple[IntArray, FloatArray, FloatArray, IntArray, FloatArray, FloatArray]:
        """All numbers: rows, sums and squares of bins, then of groups."""
        return self.n, self.sums, self.squares, self.group_n, self.group_sums, self.group_squares

    def to_bytes(self) -> bytes:
        """Serialise; versioned and compressed."""
        return seal_raw(_MAGIC, self.raw())

    def raw(self) -> bytes:
        """Serialise as a part of something else."""
        n, sums, squares, *groups = (
            part.astype(part.dtype.newbyteorder("<")).tobytes() for part in self.parts
        )
        parts = (n, sums, squares, groups[0], groups[1], groups[2])
        return msgspec.msgpack.encode(_State(self.reference_hash, self.by_group, parts))

    @classmethod
    def from_bytes(cls, data: bytes, binning: Binning) -> CrossCounts:
        """Read what `to_bytes` wrote.

        Raises
        ------
        ProfileError
            If the bytes are damaged or do not fit the bins.
        """
        raw = unseal_raw(_MAGIC, data, "table of cross-counts", ProfileError)
        return cls.from_raw(raw, binning)

    @classmethod
    def from_raw(cls, data: bytes, binning: Binning) -> CrossCounts:
        """Read what `raw` wrote; see `from_bytes`."""
        try:
            state = msgpack_decoder(_State).decode(data)
        except msgspec.MsgspecError as problem:
            msg = f"damaged table of cross-counts: {problem}"
            raise ProfileError(msg) from problem
        new = cls(binning, state.reference_hash, by_group=state.by_group)
        if [len(raw) for raw in state.parts] != [part.nbytes for part in new.parts]:
            msg = "the cross-counts do not fit the bins of their reference"
            raise ProfileError(msg)
        for part, raw in zip(new.parts, state.parts, strict=True):
            part[:] = np.frombuffer(raw, part.dtype.newbyteorder("<")).reshape(part.shape)
        return new
