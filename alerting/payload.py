"""Everything that a row of the outbox may hold: a change of an incident, a digest of a week, a list."""

from __future__ import annotations

import msgspec

from alerting.digest import DigestNotice
from alerting.held import HeldNotice
from alerting.notice import Notice, read
from schemas.decoding import json_decoder
from schemas.errors import StoreError

Payload = Notice | DigestNotice | HeldNotice
_TYPES: dict[str, type[Notice] | type[DigestNotice] | type[HeldNotice]] = {
    "alert": Notice,
    "digest": DigestNotice,
    "held": HeldNotice,
}


class _Kind(msgspec.Struct):
    kind: str = "alert"


def decode(payload: str) -> Payload:
    """Read what is in the outbox.

    Raises
    ------
    StoreError
        If it is something else, or from a later version.
    """
    try:
        kind = json_decoder(_Kind).decode(payload).kind
    except msgspec.MsgspecError as error:
        msg = f"this is not a notice: {error}"
        raise StoreError(msg) from error
    if kind not in _TYPES:
        msg = f"a notice is of the kind {kind!r}, which this version does not know; update Driftline"
        raise StoreError(msg)
    found: Payload = read(payload, _TYPES[kind])
    return found


def encode(payload: Payload) -> str:
    """Write it as JSON."""
    return msgspec.json.encode(payload).decode()
