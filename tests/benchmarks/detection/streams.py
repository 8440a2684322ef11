"""Builds the streams: windows of rows of a base table, calm or with one planted change; needs NumPy alone.

A *world* is one reference and what follows it, twice: a calm stretch, and a stretch in which something
changes after a few calm windows. It is kept as row numbers of its base table and as random numbers, so that
every side makes the same values of it, bit for bit, without drawing anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

REFERENCE_WINDOWS = 56  # eight weeks of days
HORIZON = 21  # windows from the change on; what is not found within them is missed
RAMP = 10  # windows until a gradual change is complete
MOST_LEAD, LEAST_LEAD = 14, 7
BACKGROUNDS = ("iid", "weekday", "autocorrelated")
SHAPES = ("abrupt", "gradual")
SIZES: dict[str, tuple[float, ...]] = {
    "mean": (0.1, 0.2, 0.3, 0.5, 1.0),
    "scale": (1.1, 1.2, 1.35, 1.5, 2.0),
    "tail": (0.005, 0.01, 0.02, 0.05, 0.1),
    "category": (0.02, 0.05, 0.1, 0.2, 0.3),
    "nulls": (0.01, 0.02, 0.05, 0.1, 0.2),
    "correlation": (0.2, 0.4, 0.6, 0.8, 1.0),
    "label flip": (0.02, 0.05, 0.1, 0.2, 0.3),
}
CHANGES = tuple(SIZES)
_WEEKDAY_SD = 0.3  # how far weekdays lean, in standard deviations of a score
_WANDER_SD, _WANDER_RHO = 0.15, 0.7  # how far autocorrelated windows lean, and from one to the next
_LEAST_SHARE = 0.01
_TAIL_SD = (
    4.0,
    2.0,
)  # rows in the tail lie so many standard deviations above the mean, and up to so many more


@dataclass(frozen=True)
class Plan:
    """Which worlds there are.

    Parameters
    ----------
    bases : tuple of str
        Base tables.
    rows : tuple of (rows, repetitions, calm windows)
        For each number of rows in a window: worlds of each base and background, and the calm windows of each.
    """

    bases: tuple[str, ...]
    rows: tuple[tuple[int, int, int], ...]


FULL = Plan(
    ("flights", "car loans", "housing", "image segments", "breast cancer"),
    ((100, 2, 168), (1_000, 2, 112), (10_000, 2, 56)),
)
QUICK = Plan(("flights", "car loans"), ((100, 2, 84), (1_000, 1, 56)))


@dataclass(frozen=True, eq=False)
class Base:
    """A base table: three numeric columns, two categorical ones, a label and a prediction.

    Parameters
    ----------
    name : str
    numeric_names, categorical_names : tuple of str
    categories : tuple of tuple of str
        Values of each categorical column.
    numeric : float64 array [rows, 3]
        nan where there is no value.
    codes : int64 array [rows, 2]
        Position in `categories`.
    label, prediction : int64 array [rows]
        0 or 1.
    """

    name: str
    numeric_names: tuple[str, ...]
    categorical_names: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    numeric: FloatArray
    codes: IntArray
    label: IntArray
    prediction: IntArray

    def __len__(self) -> int:
        return len(self.label)

    @property
    def error(self) -> IntArray:
        """1 where the prediction is wrong."""
        return (self.label != self.prediction).astype(np.int64)

    @cached_property
    def means(self) -> FloatArray:
        """Mean of each numeric column."""
        return np.asarray(np.nanmean(self.numeric, axis=0))

    @cached_property
    def deviations(self) -> FloatArray:
        """Standard deviation of each numeric column."""
        return np.asarray(np.nanstd(self.numeric, axis=0))

    @cached_property
    def rarest(self) -> tuple[int, ...]:
        """Least frequent value of each categorical column among those that one row in a hundred has."""
        counts = (
            np.bincount(c, minlength=len(v)) for c, v in zip(self.codes.T, self.categories, strict=True)
        )
        return tuple(int(np.argmin(np.where(n >= _LEAST_SHARE * len(self), n, len(self)))) for n in counts)

    @cached_property
    def pair(self) -> tuple[int, int]:
        """Numeric columns that hang together most."""
        known = self.numeric[~np.isnan(self.numeric).any(axis=1)]
        strength = np.abs(np.triu(np.corrcoef(known.T), 1))
        first, second = np.unravel_index(int(np.argmax(strength)), strength.shape)
        return int(first), int(second)

    @cached_property
    def scores(self) -> FloatArray:
        """Two scores of each row, with mean 0 and variance 1, along which backgrounds lean: ``[2, rows]``."""
        filled = np.where(np.isnan(self.numeric), self.means, self.numeric)
        ranks = np.argsort(np.argsort(filled, axis=0, kind="stable"), axis=0, kind="stable")
        centred = ranks - ranks.mean(axis=0)
        scores = np.stack([centred[:, 0], centred[:, 1] + centred[:, 2]])
        return np.asarray(scores / scores.std(axis=1, keepdims=True))

    def save(self, path: Path) -> None:
        """Write the table."""
        names = json.dumps([self.name, self.numeric_names, self.categorical_names, self.categories])
        np.savez(
            path,
            names=names,
            numeric=self.numeric,
            codes=self.codes,
            label=self.label,
            prediction=self.prediction,
        )

    @classmethod
    def load(cls, path: Path) -> Base:
        """Read the table."""
        with np.load(path) as kept:
            name, numeric_names, categorical_names, categories = json.loads(str(kept["names"]))
            return cls(
                name,
                tuple(numeric_names),
                tuple(categorical_names),
                tuple(tuple(values) for values in categories),
                *(kept[part] for part in ("numeric", "codes", "label", "prediction")),
            )


@dataclass(frozen=True)
class World:
    """What is known of a world beside its rows.

    Parameters
    ----------
    number : int
        Also its seed.
    base, background : str
    rows : int
        Rows of each window.
    calm : int
        Windows of the calm stretch.
    lead : int
        Calm windows before the change.
    numeric, categorical : int
        Columns that changes are planted in.
    """

    number: int
    base: str
    background: str
    rows: int
    calm: int
    lead: int
    numeric: int
    categorical: int

    @property
    def key(self) -> str:
        """Name of its files and results."""
        return f"{self.number:04d}"


@dataclass(frozen=True, eq=False)
class Streams:
    """The rows of a world.

    Parameters
    ----------
    world : World
    base : Base
    reference, calm, changing : int64 array [windows, rows]
        Row numbers of the base table; `changing` has ``lead + HORIZON`` windows.
    dice, other_dice : float32 array [HORIZON, rows]
        Uniform numbers that say which rows a change falls on.
    """

    world: World
    base: Base
    reference: IntArray
    calm: IntArray
    changing: IntArray
    dice: NDArray[np.float32]
    other_dice: NDArray[np.float32]

    @property
    def lead(self) -> IntArray:
        """Calm windows right before the change."""
        return self.changing[: self.world.lead]

    @property
    def changed(self) -> IntArray:
        """Windows from the change on, before anything is planted."""
        return self.changing[self.world.lead :]

    def planted(self, change: str, shape: str, size: float) -> Planted:
        """Plant a change in the last windows; see `Planted`."""
        amount = np.minimum((np.arange(HORIZON) + 1) / RAMP, 1.0) if shape == "gradual" else np.ones(HORIZON)
        return plant(self, change, amount[:, None], size)

    def save(self, path: Path) -> None:
        """Write the rows."""
        np.savez(
            path,
            **{name: getattr(self, name).astype(np.uint16) for name in ("reference", "calm", "changing")},
            dice=self.dice,
            other_dice=self.other_dice,
        )

    @classmethod
    def load(cls, path: Path, world: World, base: Base) -> Streams:
        """Read the rows."""
        with np.load(path) as kept:
            rows = [kept[name].astype(np.int64) for name in ("reference", "calm", "changing")]
            return cls(world, base, rows[0], rows[1], rows[2], kept["dice"], kept["other_dice"])


@dataclass(frozen=True, eq=False)
class Planted:
    """Values of the columns of the base table from a change on.

    Parameters
    ----------
    numeric : float64 array [HORIZON, rows, 3]
    codes : int64 array [HORIZON, rows, 2]
    label, prediction : int64 array [HORIZON, rows]
    """

    numeric: FloatArray
    codes: IntArray
    label: IntArray
    prediction: IntArray

    @property
    def error(self) -> IntArray:
        """1 where the prediction is wrong."""
        return (self.label != self.prediction).astype(np.int64)


def plant(streams: Streams, change: str, amount: FloatArray, size: float) -> Planted:
    """Plant a change.

    Parameters
    ----------
    streams : Streams
    change : str
        One of `CHANGES`.
    amount : float64 array [HORIZON, 1]
        Part of the change that each window has.
    size : float
        ``mean``: shift in standard deviations. ``scale``: factor. ``tail``: share of rows moved 4 to 6
        standard deviations above the mean. ``category``: share of rows that get the rarest value. ``nulls``:
        share of rows without a value. ``correlation``: share of rows that exchange their values of one of
        two columns among each other. ``label flip``: share of rows with the other label.
    """
    base, rows, world = streams.base, streams.changed, streams.world
    numeric, codes, label = base.numeric[rows], base.codes[rows], base.label[rows]
    column = numeric[:, :, world.numeric]
    mean, sd = base.means[world.numeric], base.deviations[world.numeric]
    is_hit = streams.dice < amount * size
    if change == "mean":
        column += amount * size * sd
    elif change == "scale":
        column[...] = mean + (column - mean) * (1 + amount * (size - 1))
    elif change == "tail":
        column[is_hit] = mean + (_TAIL_SD[0] + _TAIL_SD[1] * streams.other_dice[is_hit]) * sd
    elif change == "nulls":
        column[is_hit] = np.nan
    elif change == "category":
        codes[:, :, world.categorical][is_hit] = base.rarest[world.categorical]
    elif change == "correlation":
        for values, hit in zip(numeric[:, :, base.pair[1]], is_hit, strict=True):
            values[hit] = np.roll(values[hit], 1)
    elif change == "label flip":
        label[is_hit] = 1 - label[is_hit]
    else:
        msg = f"no change {change!r} (there are: {', '.join(CHANGES)})"
        raise ValueError(msg)
    return Planted(numeric, codes, label, base.prediction[rows])


def worlds(plan: Plan) -> list[World]:
    """All worlds of a plan."""
    found: list[World] = []
    for rows, repetitions, calm in plan.rows:
        for background in BACKGROUNDS:
            for base in plan.bases:
                for repetition in range(repetitions):
                    number = len(found)
                    lead = int(np.random.default_rng([7, number]).integers(LEAST_LEAD, MOST_LEAD + 1))
                    column = number + repetition
                    found.append(World(number, base, background, rows, calm, lead, column % 3, column % 2))
    return found


def build(world: World, base: Base) -> Streams:
    """Draw the rows of a world; the same world gives the same rows."""
    generator = np.random.default_rng([11, world.number])
    known = leaning(world.background, generator, REFERENCE_WINDOWS)
    calm = leaning(world.background, generator, world.calm, known)
    changing = leaning(world.background, generator, world.lead + HORIZON, known)
    rows = [drawn(base, levels, world.rows, generator) for levels in (known, calm, changing)]
    dice = generator.random((2, HORIZON, world.rows), np.float32)
    return Streams(world, base, rows[0], rows[1], rows[2], dice[0], dice[1])


def leaning(
    background: str, generator: np.random.Generator, windows: int, before: FloatArray | None = None
) -> FloatArray:
    """How far each window leans along the two scores of the base, ``[2, windows]``; goes on from `before`."""
    if background == "iid":
        return np.zeros((2, windows))
    if background == "weekday":
        week = generator.normal(0, _WEEKDAY_SD, (2, 7)) if before is None else before[:, :7]
        return week[:, np.arange(windows) % 7]
    noise = generator.normal(0, _WANDER_SD, (2, windows + 1))
    levels = [noise[:, 0] if before is None else before[:, -1]]
    for fresh in noise[:, 1:].T:
        levels.append(_WANDER_RHO * levels[-1] + np.sqrt(1 - _WANDER_RHO**2) * fresh)
    return np.stack(levels[1:], axis=1)


def drawn(base: Base, tilts: FloatArray, rows: int, generator: np.random.Generator) -> IntArray:
    """Draw the rows of windows with replacement, in proportion to e^(tilt · score): ``[windows, rows]``."""
    found = np.empty((tilts.shape[1], rows), np.int64)
    for window, tilt in zip(found, tilts.T, strict=True):
        if not tilt.any():
            window[:] = generator.integers(0, len(base), rows)
            continue
        cumulative = np.cumsum(np.exp(tilt @ base.scores))
        window[:] = np.searchsorted(cumulative, generator.random(rows) * cumulative[-1], side="right")
    return np.minimum(found, len(base) - 1)


# --- the work folder ----------------------------------------------------------------------------------------


def base_path(work: Path, name: str) -> Path:
    """File of a base table."""
    return work / f"base-{name.replace(' ', '-')}.npz"


def write(work: Path, plan: Plan) -> int:
    """Build all worlds of a plan into a work folder, beside the base tables; returns their number."""
    bases = {name: Base.load(base_path(work, name)) for name in plan.bases}
    found = worlds(plan)
    for world in found:
        build(world, bases[world.base]).save(work / f"world-{world.key}.npz")
    (work / "worlds.json").write_text(json.dumps([asdict(world) for world in found]))
    return len(found)


def known_worlds(work: Path) -> list[World]:
    """Worlds of a work folder."""
    return [World(**fields) for fields in json.loads((work / "worlds.json").read_text())]


def read(work: Path, part: int = 0, parts: int = 1) -> Iterator[Streams]:
    """Read the worlds of a work folder, one after the other; of several parts, those of one."""
    bases: dict[str, Base] = {}
    for world in known_worlds(work)[part::parts]:
        if world.base not in bases:
            bases[world.base] = Base.load(base_path(work, world.base))
        yield Streams.load(work / f"world-{world.key}.npz", world, bases[world.base])
