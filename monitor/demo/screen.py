"""What the demo shows while it runs: live on a terminal, plain lines elsewhere; always on standard error."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from monitor.clock import Clock
from monitor.demo.account import Account
from monitor.demo.settings import CHANNEL
from monitor.demo.slack_server import Posted
from monitor.demo.slack_view import lines_of, rendered

PLAIN_EVERY_S = 5.0


@dataclass(frozen=True)
class Progress:
    """How far the replay has come.

    Parameters
    ----------
    at_ms, from_ms, to_ms : int
        Event time, and the span of the replay.
    sent : int
        Messages of all kinds.
    per_s : float
        Predictions taken in a second, lately.
    account : Account
    """

    at_ms: int
    from_ms: int
    to_ms: int
    sent: int
    per_s: float
    account: Account

    @property
    def day(self) -> str:
        """Day of event time."""
        return f"{datetime.fromtimestamp(self.at_ms / 1_000, UTC):%d %b %Y}"

    @property
    def text(self) -> str:
        """All of it in a line."""
        done = self.account.outcomes
        return (
            f"{self.per_s:,.0f} events/s · counted {done['counted']:,} · "
            f"duplicates {done['duplicates']:,} · dead letters {done['dead_lettered']} · "
            f"late {done['late']} · days judged {self.account.windows} · "
            f"alerts {self.account.alerts} ({self.account.firing} firing)"
        )


class Screen(Protocol):
    """Where the demo writes."""

    def say(self, line: str) -> None:
        """Say what happens, in a line."""
        ...

    def posted(self, posted: Posted) -> None:
        """Show what arrived in Slack. Called from any thread."""
        ...

    def progress(self, progress: Progress) -> None:
        """Show how far the replay has come."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


class PlainScreen:
    """Lines, for pipes and logs.

    Parameters
    ----------
    console : Console
    clock : Clock
        A line of progress comes every five seconds at most.
    """

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console, self._clock = console, clock
        self._next_at = clock.monotonic()

    def say(self, line: str) -> None:
        """Write a line."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def posted(self, posted: Posted) -> None:
        """Write the header and the summary of a message, or a reply; edits are left to the reply."""
        for line in [] if posted.is_edit else lines_of(posted):
            self.say(f"slack {CHANNEL} {line}")

    def progress(self, progress: Progress) -> None:
        """Write a line now and then."""
        now = self._clock.monotonic()
        if now >= self._next_at:
            self._next_at = now + PLAIN_EVERY_S
            self.say(f"{progress.day}: {progress.text}")

    def close(self) -> None:
        """Nothing is left to do."""


class LiveScreen:
    """A status line that stays at the bottom, with messages above it.

    Parameters
    ----------
    console : Console
        A terminal.
    """

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=8, transient=True)
        self._live.start()

    def say(self, line: str) -> None:
        """Write a line above the status."""
        self._live.console.print(line, markup=False, highlight=False)

    def posted(self, posted: Posted) -> None:
        """Show a message as Slack would; edits are left to the reply that comes with them."""
        if not posted.is_edit:
            self._live.console.print(rendered(posted, CHANNEL))

    def progress(self, progress: Progress) -> None:
        """Move the status on."""
        bar = Table.grid(padding=(0, 1))
        span = max(1, progress.to_ms - progress.from_ms)
        bar.add_row(
            Text(progress.day, style="bold"),
            ProgressBar(total=span, completed=progress.at_ms - progress.from_ms, width=60),
            Text(f"{progress.sent:,} sent", style="dim"),
        )
        self._live.update(Group(bar, Text(progress.text)))

    def close(self) -> None:
        """Take the status away."""
        self._live.stop()


def open_screen(console: Console, clock: Clock) -> Screen:
    """Choose by what the console is."""
    return LiveScreen(console) if console.is_terminal else PlainScreen(console, clock)
