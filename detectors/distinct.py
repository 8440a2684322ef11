"""How many different values there were: a HyperLogLog sketch updated from whole arrays of hashes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from detectors.tensor import HashArray
from schemas.errors import ProfileError, UsageError

RegisterArray: TypeAlias = npt.NDArray[np.uint8]

SMALLEST_PRECISION, LARGEST_PRECISION = 4, 16

_VERSION = 1
_AT_ONCE = 4_096  # values; the working arrays stay in the processor's cache
_WORTH_SKIPPING = 2  # least rank from which most values need no second look
_DENSE, _SPARSE = 0, 1
_HEADER = struct.Struct("<BBB")  # version, precision, encoding
_POWERS = 2.0 ** np.arange(1, 65)
_ENTRY = np.dtype([("register", "<u2"), ("rank", "u1")])


@dataclass
class Distinct:
    """Count different values in 2^p bytes, whatever their number.

    Parameters
    ----------
    precision : int
        p, from 4 to 16: the sketch has 2^p registers. The default of 9 takes 512 bytes and errs by about 4.6
        %.

    Raises
    ------
    UsageError
        If `precision` is out of range.

    Notes
    -----
    The top p bits of a hash choose a register; the register keeps the largest "position of the
    lowest 1-bit" seen in the other 64 − p bits. The state depends only on the set of hashes, so any order and
    any split of the data gives the same bytes.

    References
    ----------
    .. [1] P. Flajolet, É. Fusy, O. Gandouet, F. Meunier, "HyperLogLog: the analysis of a near-optimal
       cardinality estimation algorithm", AofA 2007.
    .. [2] O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches", arXiv:1702.01284 (2017),
       section 4.

    Examples
    --------
    >>> from detectors.hashing import hash_numbers
    >>> sketch = Distinct()
    >>> sketch.update(hash_numbers(np.arange(10_000) % 700))
    >>> round(sketch.estimate()), round(sketch.relative_error, 3)
    (660, 0.046)
    """

    precision: int = 9
    registers: RegisterArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not SMALLEST_PRECISION <= self.precision <= LARGEST_PRECISION:
            msg = f"precision: {self.precision} ({SMALLEST_PRECISION} to {LARGEST_PRECISION} are allowed)"
            raise UsageError(msg)
        self.registers = np.zeros(2**self.precision, dtype=np.uint8)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Distinct):
            return NotImplemented
        return np.array_equal(self.registers, other.registers)

    __hash__ = None  # type: ignore[assignment]  # mutable

    @property
    def relative_error(self) -> float:
        """Standard error of `estimate` as a share of the true number: 1.04 / √registers."""
        return float(1.04 / np.sqrt(len(self.registers)))

    def update(self, hashes: HashArray) -> None:
        """Add values.

        Parameters
        ----------
        hashes : HashArray
            uint64 hashes of the values, from `detectors.hashing`; repeats change nothing.
        """
        register, rank = _registers_and_ranks(hashes, self.precision)
        np.maximum.at(self.registers, register, rank)

    def merge(self, other: Distinct) -> Distinct:
        """Sketch of the union of both sets; neither operand changes.

        Raises
        ------
        ProfileError
            If the precisions differ.
        """
        if other.precision != self.precision:
            msg = f"distinct counts of precision {self.precision} and {other.precision} cannot be merged"
            raise ProfileError(msg)
        merged = Distinct(self.precision)
        np.maximum(self.registers, other.registers, out=merged.registers)
        return merged

    def estimate(self) -> float:
        """Estimated number of different values; 0 for an empty sketch.

        Notes
        -----
        Ertl's improved raw estimator: with C_k registers at rank k, q = 64 − p and m = 2^p,
        ``m² / (2 ln 2 · (m·σ(C_0/m) + Σ_{k=1..q} C_k 2^−k + m·τ(1 − C_{q+1}/m)·2^−q))``.
        It needs no switch between small and large ranges.
        """
        registers, last = len(self.registers), 64 - self.precision
        counts = np.bincount(self.registers, minlength=last + 2)
        if counts[0] == registers:
            return 0.0
        middle = float(counts[1:-1] @ 2.0 ** -np.arange(1, last + 1))
        empty = registers * _sigma(counts[0] / registers)
        full = registers * _tau(1 - counts[-1] / registers) * 2.0**-last
        if counts[-1] == registers:
            return 2.0**64  # as many as there are hashes
        return float(registers**2 / (2 * np.log(2) * (empty + middle + full)))

    def to_bytes(self) -> bytes:
        """Serialise: version, precision, then all registers or, when few are set, only those."""
        used = self.registers.nonzero()[0]
        if len(used) * _ENTRY.itemsize >= len(self.registers):
            return _HEADER.pack(_VERSION, self.precision, _DENSE) + self.registers.tobytes()
        entries = np.empty(len(used), dtype=_ENTRY)
        entries["register"], entries["rank"] = used, self.registers[used]
        return _HEADER.pack(_VERSION, self.precision, _SPARSE) + entries.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Distinct:
        """Read what `to_bytes` wrote.

        Raises
        ------
        ProfileError
            If the bytes are of another version, cut off, or not a sketch.
        """
        if len(data) < _HEADER.size or data[0] != _VERSION:
            msg = f"not a distinct count of version {_VERSION}: {data[: _HEADER.size].hex() or 'no bytes'}"
            raise ProfileError(msg)
        _, precision, encoding = _HEADER.unpack_from(data)
        if not SMALLEST_PRECISION <= precision <= LARGEST_PRECISION or encoding not in (_DENSE, _SPARSE):
            msg = f"distinct count: precision {precision}, encoding {encoding} are not known"
            raise ProfileError(msg)
        sketch = cls(precision)
        body = data[_HEADER.size :]
        sketch.registers[:] = _dense(body, precision) if encoding == _DENSE else _sparse(body, precision)
        if sketch.registers.max() > 65 - precision:
            msg = f"distinct count: rank {sketch.registers.max()} (at most {65 - precision} is possible)"
            raise ProfileError(msg)
        return sketch


def update_all(sketches: Sequence[Distinct], hashes: HashArray, use: npt.NDArray[np.bool_] | None) -> None:
    """Add values to many sketches of one precision at once.

    Parameters
    ----------
    sketches : sequence of Distinct
    hashes : HashArray
        ``[sketches, n]``: hashes of the values of each.
    use : bool array [sketches, n] or None
        Which of them count; None for all.
    """
    for begin in range(0, hashes.shape[1] if sketches else 0, _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        _update_part(sketches, hashes[:, part], None if use is None else use[:, part])


def _update_part(sketches: Sequence[Distinct], hashes: HashArray, use: npt.NDArray[np.bool_] | None) -> None:
    size = len(sketches[0].registers)
    many = hashes.shape[1] == _AT_ONCE
    least = np.array([sketch.registers.min() if many else 0 for sketch in sketches], np.uint64)
    if least.min() >= _WORTH_SKIPPING:
        # A rank is above k only if the lowest k bits are 0: most hashes cannot raise a register any more.
        could = (hashes & ((np.uint64(1) << least) - np.uint64(1))[:, None]) == 0
        which, at = np.nonzero(could if use is None else could & use)
        register, rank = _registers_and_ranks(hashes[which, at], sketches[0].precision)
        register += which * size
    else:
        register, rank = _registers_and_ranks(hashes, sketches[0].precision)
        if use is not None:
            rank *= use  # a rank of 0 changes nothing
        register += np.arange(len(sketches))[:, None] * size
    together = np.zeros(len(sketches) * size, np.uint8)
    np.maximum.at(together, register.ravel(), rank.ravel())
    for sketch, found in zip(sketches, together.reshape(-1, size), strict=True):
        np.maximum(sketch.registers, found, out=sketch.registers)


def _registers_and_ranks(hashes: HashArray, precision: int) -> tuple[npt.NDArray[np.intp], RegisterArray]:
    """Register of each hash, and the position of the lowest 1-bit in the rest of it."""
    value_bits = 64 - precision
    register = (hashes >> np.uint64(value_bits)).astype(np.intp)
    marked = hashes | np.uint64(1 << value_bits)  # an end mark: the rank is at most value_bits + 1
    lowest_one = marked & (~marked + np.uint64(1))
    powers = lowest_one.astype(np.float64)  # exact, and their exponents can be read from the bits
    exponent = powers.view(np.uint64) >> np.uint64(52)
    return register, (exponent - np.uint64(1022)).astype(np.uint8)


def _dense(body: bytes, precision: int) -> RegisterArray:
    if len(body) != 2**precision:
        msg = f"distinct count: {len(body)} bytes of registers, {2**precision} expected"
        raise ProfileError(msg)
    return np.frombuffer(body, dtype=np.uint8)


def _sparse(body: bytes, precision: int) -> RegisterArray:
    if len(body) % _ENTRY.itemsize:
        msg = f"distinct count: {len(body)} bytes are not whole entries of {_ENTRY.itemsize}"
        raise ProfileError(msg)
    entries = np.frombuffer(body, dtype=_ENTRY)
    used = entries["register"].astype(np.int64)
    if np.any(used >= 2**precision) or np.any(np.diff(used) <= 0):
        msg = f"distinct count: registers are not increasing numbers below {2**precision}"
        raise ProfileError(msg)
    registers = np.zeros(2**precision, dtype=np.uint8)
    registers[used] = entries["rank"]
    return registers


def _sigma(share: float) -> float:
    """What the empty registers are worth: x + Σ_{k≥1} x^(2^k)·2^(k−1), 0 ≤ x < 1."""
    return float(share + np.sum(share**_POWERS * _POWERS) / 2)


def _tau(share: float) -> float:
    """What the registers at the end mark are worth: (1 − x − Σ_{k≥1} (1 − x^(2^−k))²·2^−k) / 3; τ(0) = 0."""
    if share == 0:
        return 0.0
    return float((1 - share - np.sum((1 - share ** (1 / _POWERS)) ** 2 / _POWERS)) / 3)
