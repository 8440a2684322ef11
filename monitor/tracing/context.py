"""W3C Trace Context: the header ``traceparent``, by which a trace goes on in another process."""

from __future__ import annotations

import re
from typing import NamedTuple

HEADER = "traceparent"

_TRACEPARENT = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})(?P<span>[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?",
    re.ASCII,
)
_LONGEST = 256
_SAMPLED = 0x01


class SpanIdentity(NamedTuple):
    """Which span of which trace; `is_sampled` says whether somebody keeps it."""

    trace_id: int
    span_id: int
    is_sampled: bool

    @property
    def traceparent(self) -> str:
        """The value of the header.

        Examples
        --------
        >>> SpanIdentity(0xAB, 0xCD, True).traceparent
        '00-000000000000000000000000000000ab-00000000000000cd-01'
        """
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.is_sampled):02x}"


def read_traceparent(value: str | bytes | None) -> SpanIdentity | None:
    """Read a ``traceparent``; None if there is none, or it is not one.

    Notes
    -----
    Later versions may append fields, which are left out; version 00 may not.

    References
    ----------
    W3C Recommendation "Trace Context", 2021, section 3.2.

    Examples
    --------
    >>> read_traceparent(b"00-000000000000000000000000000000ab-00000000000000cd-01")
    SpanIdentity(trace_id=171, span_id=205, is_sampled=True)
    >>> read_traceparent("00-00000000000000000000000000000000-00000000000000cd-01") is None
    True
    """
    if not value or len(value) > _LONGEST:
        return None
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    found = _TRACEPARENT.fullmatch(text.strip())
    if found is None or (found["version"] == "00" and found["more"]):
        return None
    return SpanIdentity(
        int(found["trace"], 16), int(found["span"], 16), bool(int(found["flags"], 16) & _SAMPLED)
    )
