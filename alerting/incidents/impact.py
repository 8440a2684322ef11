"""What an incident costs: a measure of performance since it began, beside what it was before."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Knowledge(StrEnum):
    """Where a figure of performance comes from."""

    REALISED = "realised"
    ESTIMATED = "estimated"


@dataclass(frozen=True)
class Impact:
    """A measure since the incident began, and before.

    Parameters
    ----------
    metric : str
        ``f1``, ``recall``, ``mae`` …
    value : float
        In the latest window of the incident.
    low, high : float or None
        Its interval.
    before : float or None
        Mean of the windows before the incident began, weighted by rows; None if there were none.
    kind : Knowledge
        From labels, or estimated before they come.
    rows : int
        Rows that `value` is about.
    coverage : float or None
        Share of these rows with a label, of realised values.

    Examples
    --------
    >>> Impact("f1", 0.613, 0.58, 0.64, 0.71, Knowledge.ESTIMATED, 1_204, None).words
    'f1 is 0.613 (0.580–0.640), estimated without labels; before it was 0.710'
    """

    metric: str
    value: float
    low: float | None
    high: float | None
    before: float | None
    kind: Knowledge
    rows: int
    coverage: float | None = None

    @property
    def words(self) -> str:
        """Say it in a sentence without its full stop."""
        interval = "" if self.low is None or self.high is None else f" ({self.low:.3f}–{self.high:.3f})"
        before = "" if self.before is None else f"; before it was {self.before:.3f}"
        return f"{self.metric} is {self.value:.3f}{interval}, {self._known}{before}"

    @property
    def _known(self) -> str:
        if self.kind is Knowledge.ESTIMATED:
            return "estimated without labels"
        if self.coverage is None:
            return "from labels"
        return f"from labels for {100 * self.coverage:.0f} % of {self.rows:,} rows"
