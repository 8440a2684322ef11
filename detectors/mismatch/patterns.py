"""What explains most of the rows that differ, in words: a change of units, a default, a stale value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from detectors.mismatch import labelled, numeric, stale
from detectors.mismatch.differences import Difference, Tolerance
from detectors.mismatch.explained import FEWEST_ROWS, Explained, Rows
from detectors.mismatch.values import Type, Values
from detectors.tensor import IntArray

SHARE = 0.5
"""Least part of the rows that differ in one way, or of those left, that a pattern has to explain."""
OF_ALL = 0.05
"""Least part of all that have another value."""
_MOST = 3


@dataclass(frozen=True)
class Pattern:
    """Why rows differ.

    Parameters
    ----------
    name : str
        ``factor``, ``conversion``, ``shift``, ``rounding``, ``constant``, ``stale``, ``spelling``,
        ``recoded``, ``default`` or ``type``.
    words : str
        For people, with the numbers of the pattern.
    rows : int
        Rows that differ and fit.
    shows_values : bool
        Whether `words` quotes values of single rows; those of personal columns are not for showing.
    """

    name: str
    words: str
    rows: int
    shows_values: bool = False

    def without_values(self) -> Pattern:
        """Return the same with no value of any row in its words."""
        if not self.shows_values:
            return self
        return replace(self, words=f"{self.words.partition(':')[0]}: hidden", shows_values=False)


def patterns(
    training: Values,
    events: Values,
    codes: NDArray[np.uint8],
    tolerance: Tolerance,
    previous: IntArray | None = None,
) -> tuple[Pattern, ...]:
    """Find what explains the rows that differ; see `detectors.mismatch.column.mismatch`.

    Notes
    -----
    Rows with another value are explained one pattern after the other: the one that explains most of those
    left, at least half of them, three, and a twentieth of all. Of those that explain as many, the one that
    leaves the least of the differences counts, and then the first in the order of the code.
    """
    rows = Rows(training, events, tolerance, previous)
    found: list[Pattern] = []
    left = np.flatnonzero(codes == Difference.VALUE)
    fewest = max(FEWEST_ROWS, OF_ALL * len(left))
    for _ in range(_MOST):
        best = _best(rows, left, fewest)
        if best is None:
            break
        found.append(Pattern(best.name, best.words, len(best.rows), best.shows_values))
        left = np.setdiff1d(left, best.rows, assume_unique=True)
    found += [*_types(rows, codes), *_defaults(rows, codes)]
    return tuple(sorted(found, key=lambda pattern: -pattern.rows))


_FINDERS: tuple[Callable[[Rows, IntArray], Iterable[Explained]], ...] = (
    stale.found,
    numeric.found,
    labelled.found,
)


def _best(rows: Rows, left: IntArray, fewest: float) -> Explained | None:
    if len(left) < fewest:
        return None
    candidates = chain.from_iterable(finder(rows, left) for finder in _FINDERS)
    fitting = [one for one in candidates if len(one.rows) >= max(fewest, SHARE * len(left))]
    return max(fitting, key=lambda one: (len(one.rows), -one.left), default=None)


def _types(rows: Rows, codes: NDArray[np.uint8]) -> Iterator[Pattern]:
    """Which types the two logs have the same values as."""
    at = np.flatnonzero(codes == Difference.TYPE)
    if not len(at):
        return
    pairs = rows.training.type[at].astype(np.int64) * len(Type) + rows.events.type[at]
    usual, numbers = np.unique(pairs, return_counts=True)
    most = int(numbers.argmax())
    one, other = (Type(int(kind)) for kind in divmod(int(usual[most]), len(Type)))
    words = f"the same value as another type: {one.words} in the table, {other.words} in events"
    yield Pattern("type", words, int(numbers[most]))


def _defaults(rows: Rows, codes: NDArray[np.uint8]) -> Iterator[Pattern]:
    """Which value stands on one side for a missing one on the other."""
    ways = (
        (Difference.MISSING_IN_TRAINING, rows.events, "missing in the table, filled in events: mostly"),
        (Difference.MISSING_IN_EVENTS, rows.training, "missing in events, filled in the table: mostly"),
    )
    for difference, values, words in ways:
        at = np.flatnonzero(codes == difference)
        if len(at) < FEWEST_ROWS:
            continue
        value, fits = labelled.most_common(values.take(at))
        number = int(fits.sum())
        if number >= SHARE * len(at):
            yield Pattern("default", f"{words} {value}", number, shows_values=True)
