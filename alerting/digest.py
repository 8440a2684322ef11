"""The weekly digest: which streams drifted in a week, as data, in words, and as a message to receivers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from alerting.outbox import OutboxRow, row_id
from alerting.summary import date, share, subject

FORMAT = 1
CARRIED_STREAMS = 50
TYPE = "driftline.digest"


@dataclass(frozen=True)
class DriftedStream:
    """One stream that the digest lists.

    Parameters
    ----------
    column, segment : str
        ``""`` for all rows.
    lane : str
    log_evalue : float
        Logarithm of its e-value for the week.
    psi : float
        Largest de-biased population stability index of a window of the week.
    rows, windows : int
        What was judged in the week.
    summary : str
        What moved most, in words; of the window with the largest index.
    """

    model: str
    version: str
    column: str
    segment: str
    lane: str
    log_evalue: float
    psi: float
    rows: int
    windows: int
    summary: str


@dataclass(frozen=True)
class Digest:
    """What drifted in one week, over everything watched.

    Parameters
    ----------
    week, until : datetime
        Monday 00:00 UTC, and the one after.
    is_finished : bool
        No more windows of the week are waited for.
    level : float
        Share of false ones among the listed streams that is expected at most.
    streams : int
        How many were watched.
    listed : tuple of DriftedStream
        The most evidence first.
    listed_total : int
        How many are listed, shown here or not.
    """

    week: datetime
    until: datetime
    is_finished: bool
    level: float
    streams: int
    listed: tuple[DriftedStream, ...]
    listed_total: int


@dataclass(frozen=True)
class DigestNotice:
    """One digest to one receiver.

    Parameters
    ----------
    id : str
        Stable over all attempts; receivers use it to drop repetitions.
    digest : Digest
        With at most 50 streams.
    at : datetime
        When the week was finished.
    """

    id: str
    digest: Digest
    at: datetime
    kind: Literal["digest"] = "digest"
    format: int = FORMAT

    @property
    def type(self) -> str:
        """Name of the event."""
        return TYPE


def outbox_rows(digest: Digest, receivers: Iterable[str], at: datetime) -> Iterator[OutboxRow]:
    """Write one message for every receiver.

    Parameters
    ----------
    digest : Digest
        Of a finished week.
    receivers : iterable of str
        Names in the configuration, each once.
    at : datetime
        When the week was finished.

    Yields
    ------
    OutboxRow
        With a deterministic identity: the same week always gives the same rows.
    """
    about = digest_id(digest.week)
    carried = replace(digest, listed=digest.listed[:CARRIED_STREAMS])
    for receiver in receivers:
        id_ = row_id(about, 1, receiver)
        payload = msgspec.json.encode(DigestNotice(id_, carried, at)).decode()
        yield OutboxRow(id_, about, 1, receiver, payload)


def digest_id(week: datetime) -> str:
    """Name a digest where alerts have their id.

    Examples
    --------
    >>> from datetime import UTC
    >>> digest_id(datetime(2026, 1, 5, tzinfo=UTC))
    'digest-2026-01-05'
    """
    return f"digest-{week:%Y-%m-%d}"


def document(digest: Digest, shown: int | None = None) -> dict[str, Any]:
    """Describe a digest the way the HTTP API, the command line and webhooks do.

    Parameters
    ----------
    digest : Digest
    shown : int, optional
        Streams to list at most.
    """
    plain: dict[str, Any] = msgspec.to_builtins(
        {
            "week": digest.week,
            "until": digest.until,
            "finished": digest.is_finished,
            "level": digest.level,
            "streams": digest.streams,
            "listed": list(digest.listed[:shown]),
            "listed_total": digest.listed_total,
            "false_share_at_most": digest.level,
        }
    )
    return plain


def headline(digest: Digest) -> str:
    """Say in one line how many streams drifted.

    Examples
    --------
    >>> from datetime import UTC
    >>> week = datetime(2026, 1, 5, tzinfo=UTC)
    >>> headline(Digest(week, week + timedelta(7), True, 0.1, 240, (), 0))
    'Nothing drifted in the week of 5 Jan 2026 – 11 Jan 2026 (UTC); 240 streams were watched'
    """
    days = f"{date(digest.week)} – {date(digest.until - timedelta(days=1))} (UTC)"
    when = f"in the week of {days}" if digest.is_finished else f"so far in the week of {days}"
    watched = f"{digest.streams} stream{'' if digest.streams == 1 else 's'}"
    if not digest.listed_total:
        return f"Nothing drifted {when}; {watched} {'was' if digest.streams == 1 else 'were'} watched"
    return f"{digest.listed_total} of {watched} drifted {when}"


def promise(digest: Digest) -> str:
    """Say how many of the listed streams may be there by chance."""
    return f"At most {share(digest.level)} of the listed streams are expected to be false."


def line(stream: DriftedStream) -> str:
    """Write one stream: what it is, how much evidence and effect, what moved.

    Examples
    --------
    >>> line(DriftedStream("churn", "3", "age", "", "features", 31.4, 0.214, 900, 168,
    ...                    "age: 62 % of rows in [48.1, 61.0), reference 9 %"))
    'churn v3: age: 62 % of rows in [48.1, 61.0), reference 9 %; PSI up to 0.21, evidence e^31.4'
    """
    name = f"{stream.column} where {stream.segment}" if stream.segment else stream.column
    what = stream.summary or name
    return (
        f"{subject(stream.model, stream.version)}: {what}; "
        f"PSI up to {stream.psi:.2g}, evidence e^{stream.log_evalue:.1f}"
    )
