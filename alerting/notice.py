"""What a receiver is told: one change of one alert, as the alert was at that change."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from alerting.alert import Alert, Change
from alerting.digest import DigestNotice
from schemas.errors import StoreError

FORMAT = 1
CARRIED_FINDINGS = 50


@dataclass(frozen=True)
class Notice:
    """One message to one receiver.

    Parameters
    ----------
    id : str
        Stable over all attempts; receivers use it to drop repetitions.
    change : Change
        What happened.
    alert : Alert
        The alert right after that, with one finding per stream and at most 50 of them.
    findings_total : int
        Number of streams of the alert.
    columns_total : int
        Number of columns of the alert.
    url : str
        Address of the alert on the console; empty if none is configured.
    """

    id: str
    change: Change
    alert: Alert
    findings_total: int
    columns_total: int
    url: str = ""
    format: int = FORMAT

    @property
    def type(self) -> str:
        """Name of the event, such as ``driftline.alert.opened``."""
        return f"driftline.alert.{self.change.kind}"


def notice_of(id_: str, change: Change, alert: Alert, console_url: str = "") -> Notice:
    """Put together what a receiver needs to know, in bounded space."""
    leading = alert.leading
    carried = replace(alert, findings=leading[:CARRIED_FINDINGS])
    url = f"{console_url.rstrip('/')}/alerts/{alert.id}" if console_url else ""
    return Notice(id_, change, carried, len(leading), len(alert.columns), url)


def encode(notice: Notice | DigestNotice) -> str:
    """Write a notice as JSON."""
    return msgspec.json.encode(notice).decode()


class _Kind(msgspec.Struct):
    kind: str = "alert"


def decode(payload: str) -> Notice | DigestNotice:
    """Read what `encode` wrote.

    Raises
    ------
    StoreError
        If it is something else, or from a later version.
    """
    try:
        kind = msgspec.json.decode(payload, type=_Kind).kind
        what: type[Notice | DigestNotice] = DigestNotice if kind == "digest" else Notice
        notice = msgspec.json.decode(payload, type=what)
    except msgspec.MsgspecError as error:
        msg = f"this is not a notice: {error}"
        raise StoreError(msg) from error
    if notice.format != FORMAT:
        msg = f"notice {notice.id} has format {notice.format} (this version reads {FORMAT}); update Driftline"
        raise StoreError(msg)
    return notice
