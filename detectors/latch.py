"""Whether the alarm of a single stream is open, and since when it was quiet before."""

from __future__ import annotations

from typing import NamedTuple

from schemas.verdict import Decision

SETTLED_AFTER = 3  # windows back to normal


class Latch(NamedTuple):
    """An alarm that stays open until some windows in a row are back to normal.

    Parameters
    ----------
    is_open : bool
    settled_for : int
        Windows in a row that were back to normal while it was open.
    quiet_since_ms : int
        End of the last window that spoke against a change: what changed, if anything, changed after it.

    Examples
    --------
    >>> latch = Latch(quiet_since_ms=0).after(rows=9, is_alarm=True, is_back=False, is_quiet=False, end_ms=1)
    >>> for end_ms in (2, 3, 4):
    ...     latch = latch.after(rows=9, is_alarm=False, is_back=True, is_quiet=True, end_ms=end_ms)
    >>> latch
    Latch(is_open=False, settled_for=0, quiet_since_ms=4)
    """

    is_open: bool = False
    settled_for: int = 0
    quiet_since_ms: int = 0

    def after(self, *, rows: int, is_alarm: bool, is_back: bool, is_quiet: bool, end_ms: int) -> Latch:
        """Return what follows a window.

        Parameters
        ----------
        rows : int
            Of the window; without any, an open alarm stays as it is.
        is_alarm, is_back : bool
            The window raised the alarm; it is back to normal.
        is_quiet : bool
            It speaks against a change.
        end_ms : int
            Its end.
        """
        if is_alarm:
            return Latch(is_open=True, quiet_since_ms=end_ms)
        if not self.is_open:
            return Latch(quiet_since_ms=end_ms if is_quiet else self.quiet_since_ms)
        settled = (self.settled_for + 1 if is_back else 0) if rows else self.settled_for
        is_open = settled < SETTLED_AFTER
        return Latch(is_open, settled if is_open else 0, end_ms)

    def decision(self, rows: int, *, is_alarm: bool) -> Decision:
        """Say what a window with this latch after it is."""
        if is_alarm:
            return Decision.DRIFT
        if not rows:
            return Decision.NO_DATA
        return Decision.ONGOING if self.is_open and not self.settled_for else Decision.OK
