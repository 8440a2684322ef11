"""How many different values there were: a HyperLogLog sketch updated from whole arrays of hashes.

A sketch may keep the hashes themselves as long as they are few; until then it counts exactly.
"""

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
LARGEST_EXACT = 1 << 20
FINE_PRECISION, FINE_EXACT = 14, 4_096
"""Of columns of which no value may come twice: exact up to 4,096 different ones, 0.8 % of error beyond."""

_VERSION, _VERSION_EXACT = 1, 2
_AT_ONCE = 4_096  # values; the working arrays stay in the processor's cache
_WORTH_SKIPPING = 2  # least rank from which most values need no second look
_DENSE, _SPARSE, _HASHES = 0, 1, 2
_HEADER = struct.Struct("<BBB")  # version, precision, encoding
_HEADER_EXACT = struct.Struct("<BBBI")  # the same, and the most hashes that are kept
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
    exact : int
        Most hashes that are kept besides, 8 bytes each, up to 2^20: as long as there are not more, the number
        is exact.

    Attributes
    ----------
    registers : uint8 array [2^p]
    hashes : uint64 array [n] or None
        All hashes, increasing; None once there were more than `exact`.

    Raises
    ------
    UsageError
        If `precision` or `exact` is out of range.

    Notes
    -----
    The top p bits of a hash choose a register; the register keeps the largest "position of the
    lowest 1-bit" seen in the other 64 − p bits. The state depends only on the set of hashes, so any order and
    any split of the data gives the same bytes. That holds for the hashes that are kept, too: they are there
    if, and only if, the set has at most `exact` of them.

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
    exact: int = 0
    registers: RegisterArray = field(init=False, repr=False)
    hashes: HashArray | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not SMALLEST_PRECISION <= self.precision <= LARGEST_PRECISION:
            msg = f"precision: {self.precision} ({SMALLEST_PRECISION} to {LARGEST_PRECISION} are allowed)"
            raise UsageError(msg)
        if not 0 <= self.exact <= LARGEST_EXACT:
            msg = f"exact: {self.exact} (0 to {LARGEST_EXACT} are allowed)"
            raise UsageError(msg)
        self.registers = np.zeros(2**self.precision, dtype=np.uint8)
        self.hashes = np.zeros(0, np.uint64) if self.exact else None

    @classmethod
    def fine(cls) -> Distinct:
        """Sketch for columns of which no value may come twice."""
        return cls(FINE_PRECISION, FINE_EXACT)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Distinct):
            return NotImplemented
        return self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]  # mutable

    @property
    def is_empty(self) -> bool:
        """Whether there were no values."""
        return not self.registers.any()

    @property
    def is_exact(self) -> bool:
        """Whether `estimate` is the true number (of hashes, of which two values in 2^64 share one)."""
        return self.hashes is not None

    @property
    def relative_error(self) -> float:
        """Standard error of `estimate` as a share of the true number: 1.04 / √registers, 0 while exact."""
        return 0.0 if self.is_exact else float(1.04 / np.sqrt(len(self.registers)))

    @property
    def size_bytes(self) -> int:
        """Memory of the registers and hashes."""
        return self.registers.nbytes + (0 if self.hashes is None else self.hashes.nbytes)

    def update(self, hashes: HashArray) -> None:
        """Add values.

        Parameters
        ----------
        hashes : HashArray
            uint64 hashes of the values, from `detectors.hashing`; repeats change nothing.
        """
        register, rank = _registers_and_ranks(hashes, self.precision)
        np.maximum.at(self.registers, register, rank)
        self.hashes = _union(self.hashes, hashes, self.exact)

    def merge(self, other: Distinct) -> Distinct:
        """Sketch of the union of both sets; neither operand changes.

        The result is as precise as the less precise of both, and keeps as many hashes as the one that keeps
        fewer. One without values decides nothing: of two of them the result has the larger of both.
        """
        if self.precision == other.precision and self.exact == other.exact == 0:  # as nearly always
            alike = Distinct.__new__(Distinct)
            alike.precision, alike.exact, alike.hashes = self.precision, 0, None
            alike.registers = np.maximum(self.registers, other.registers)
            return alike
        if self.is_empty or other.is_empty:
            return self._with_nothing(other)
        merged = Distinct(min(self.precision, other.precision), min(self.exact, other.exact))
        ours, theirs = (_folded(one, merged.precision) for one in (self, other))
        np.maximum(ours, theirs, out=merged.registers)
        merged.hashes = _union(self.hashes, other.hashes, merged.exact)
        return merged

    def _with_nothing(self, other: Distinct) -> Distinct:
        """Merge where one of both is without values."""
        if self.is_empty and other.is_empty:
            return Distinct(max(self.precision, other.precision), max(self.exact, other.exact))
        known = other if self.is_empty else self
        copied = Distinct(known.precision, known.exact)
        copied.registers[:], copied.hashes = known.registers, known.hashes
        return copied

    def estimate(self) -> float:
        """Estimated number of different values; 0 for an empty sketch, the true number while it is exact.

        Notes
        -----
        Ertl's improved raw estimator: with C_k registers at rank k, q = 64 − p and m = 2^p,
        ``m² / (2 ln 2 · (m·σ(C_0/m) + Σ_{k=1..q} C_k 2^−k + m·τ(1 − C_{q+1}/m)·2^−q))``.
        It needs no switch between small and large ranges.
        """
        if self.hashes is not None:
            return float(len(self.hashes))
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
        """Serialise: version, precision, then the hashes, all registers or, when few are set, only those."""
        if self.hashes is not None:
            return self._header(_HASHES) + self.hashes.astype("<u8").tobytes()
        used = self.registers.nonzero()[0]
        if len(used) * _ENTRY.itemsize >= len(self.registers):
            return self._header(_DENSE) + self.registers.tobytes()
        entries = np.empty(len(used), dtype=_ENTRY)
        entries["register"], entries["rank"] = used, self.registers[used]
        return self._header(_SPARSE) + entries.tobytes()

    def _header(self, encoding: int) -> bytes:
        if not self.exact:
            return _HEADER.pack(_VERSION, self.precision, encoding)
        return _HEADER_EXACT.pack(_VERSION_EXACT, self.precision, encoding, self.exact)

    @classmethod
    def from_bytes(cls, data: bytes) -> Distinct:
        """Read what `to_bytes` wrote.

        Raises
        ------
        ProfileError
            If the bytes are of another version, cut off, or not a sketch.
        """
        precision, encoding, exact, body = _parts(data)
        sketch = cls(precision, exact)
        if encoding == _HASHES:
            sketch.update(_hashes(body, exact))
            return sketch
        sketch.hashes = None
        sketch.registers = _dense(body, precision) if encoding == _DENSE else _sparse(body, precision)
        if (highest := np.maximum.reduce(sketch.registers)) > 65 - precision:
            msg = f"distinct count: rank {highest} (at most {65 - precision} is possible)"
            raise ProfileError(msg)
        return sketch


def update_all(sketches: Sequence[Distinct], hashes: HashArray, use: npt.NDArray[np.bool_] | None) -> None:
    """Add values to many sketches of one precision at once.

    Parameters
    ----------
    sketches : sequence of Distinct
        Which keep no hashes.
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


def _union(known: HashArray | None, hashes: HashArray | None, most: int) -> HashArray | None:
    """Hashes of both, increasing; None if there are more than so many, or were before."""
    if known is None or hashes is None:
        return None
    together = np.unique(np.concatenate((known, hashes)))
    return together if len(together) <= most else None


def _folded(sketch: Distinct, precision: int) -> RegisterArray:
    """Registers as a sketch of the same values with a smaller precision has them.

    The bits of a register's number that are dropped come before those that its rank is about: they count
    where all of the others are 0.
    """
    dropped = sketch.precision - precision
    if not dropped:
        return sketch.registers
    bits = np.arange(1 << dropped) | 1 << dropped  # with an end mark
    lowest_one = np.log2(bits & -bits).astype(np.uint8)
    ranks = sketch.registers.reshape(-1, 1 << dropped)
    at_end = ranks == 65 - sketch.precision
    folded: RegisterArray = (ranks + at_end * lowest_one).max(axis=1)
    return folded


def _parts(data: bytes) -> tuple[int, int, int, bytes]:
    """Precision, encoding, most hashes that are kept, and the rest."""
    header = _HEADER_EXACT if data[:1] == bytes([_VERSION_EXACT]) else _HEADER
    if len(data) < header.size or data[0] not in (_VERSION, _VERSION_EXACT):
        known = f"{_VERSION} or {_VERSION_EXACT}"
        msg = f"not a distinct count of version {known}: {data[: header.size].hex() or 'no bytes'}"
        raise ProfileError(msg)
    _, precision, encoding, *more = header.unpack_from(data)
    exact = more[0] if more else 0
    encodings = (_DENSE, _SPARSE, _HASHES) if more else (_DENSE, _SPARSE)
    if not SMALLEST_PRECISION <= precision <= LARGEST_PRECISION or encoding not in encodings:
        msg = f"distinct count: precision {precision}, encoding {encoding} are not known"
        raise ProfileError(msg)
    if more and not 0 < exact <= LARGEST_EXACT:
        msg = f"distinct count: exact up to {exact} values (1 to {LARGEST_EXACT} are possible)"
        raise ProfileError(msg)
    return precision, encoding, exact, data[header.size :]


def _hashes(body: bytes, exact: int) -> HashArray:
    if len(body) % 8 or len(body) > 8 * exact:
        msg = f"distinct count: {len(body)} bytes of hashes, whole ones of 8 and at most {exact} expected"
        raise ProfileError(msg)
    hashes = np.frombuffer(body, dtype="<u8")
    if np.any(hashes[1:] <= hashes[:-1]):
        msg = "distinct count: hashes are not increasing"
        raise ProfileError(msg)
    return hashes


def _dense(body: bytes, precision: int) -> RegisterArray:
    if len(body) != 2**precision:
        msg = f"distinct count: {len(body)} bytes of registers, {2**precision} expected"
        raise ProfileError(msg)
    return np.frombuffer(body, dtype=np.uint8).copy()


def _sparse(body: bytes, precision: int) -> RegisterArray:
    if len(body) % _ENTRY.itemsize:
        msg = f"distinct count: {len(body)} bytes are not whole entries of {_ENTRY.itemsize}"
        raise ProfileError(msg)
    entries = np.frombuffer(body, dtype=_ENTRY)
    used = entries["register"]
    if len(used) and (used[-1] >= 2**precision or not (used[1:] > used[:-1]).all()):
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
