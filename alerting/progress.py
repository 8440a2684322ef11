"""Who of several has got a message already, while it is still on its way to the others.

A message is delivered once everybody has it who takes it: one address that is gone must not make a message
count as lost that all others have. Nobody would look at such losses any more.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from schemas.errors import DeliveryError, RetryLater

REMEMBERED_MESSAGES = 1_000
logger = logging.getLogger("driftline.deliver")


class Progress:
    """Remembers for each message who has got it and who has refused it for good.

    The state of an incident is written only once a message is delivered, so this is kept in memory: after a
    restart a message that was on its way may come a second time, with the same identity, to those who had
    got it.

    Guarantees
    ----------
    May be used from several threads. Memory is bounded: of more than 1,000 messages the oldest are forgotten.

    Examples
    --------
    >>> progress = Progress()
    >>> progress.note("n1", got=["a"], refused={"b": "unknown"})
    >>> progress.left("n1", ["a", "b", "c"])
    ['c']
    >>> progress.conclude("n1", 3, {"c": RetryLater("busy")})
    Traceback (most recent call last):
    schemas.errors.RetryLater: 1 of 3 have not got it: busy
    >>> progress.conclude("n1", 3, {})
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._got: OrderedDict[str, set[str]] = OrderedDict()
        self._refused: dict[str, dict[str, str]] = {}

    def left(self, message: str, everybody: Iterable[str]) -> list[str]:
        """List those who have neither got the message nor refused it."""
        with self._lock:
            done = self._got.get(message, set()) | self._refused.get(message, {}).keys()
        return [one for one in everybody if one not in done]

    def note(self, message: str, got: Iterable[str] = (), refused: Mapping[str, str] | None = None) -> None:
        """Remember the outcome of an attempt."""
        with self._lock:
            self._got.setdefault(message, set()).update(got)
            self._refused.setdefault(message, {}).update(refused or {})
            self._got.move_to_end(message)
            while len(self._got) > REMEMBERED_MESSAGES:
                oldest, _ = self._got.popitem(last=False)
                self._refused.pop(oldest, None)

    def conclude(self, message: str, total: int, missing: Mapping[str, DeliveryError]) -> None:
        """Say what an attempt has come to; whoever refused for good while others have it is logged.

        Parameters
        ----------
        message : str
        total : int
            How many are to get it.
        missing : mapping of str to DeliveryError
            Who of those that were tried has not got it, and why.

        Raises
        ------
        RetryLater
            If somebody may get it later.
        DeliveryError
            If all have refused it for good.
        """
        later = {name: error for name, error in missing.items() if isinstance(error, RetryLater)}
        self.note(message, refused={name: str(missing[name]) for name in missing.keys() - later.keys()})
        if later:
            msg = f"{len(later)} of {total} have not got it: {next(iter(later.values()))}"
            raise RetryLater(msg)
        with self._lock:
            self._got.pop(message, None)
            refused = self._refused.pop(message, {})
        if not refused:
            return
        said = "; ".join(reason for _, reason in sorted(refused.items()))
        msg = f"{said} ({total - len(refused)} of {total} have got it)"
        if len(refused) == total:
            raise DeliveryError(msg)
        logger.warning("a message did not reach everybody: %s", msg)
