"""Waits for a condition instead of sleeping for a guess."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Ends what will never happen; what is only slow, on a busy machine, gets the time it needs.
PATIENCE_S = 240.0


def wait_for(
    condition: Callable[[], T | None],
    *,
    what: str,
    timeout_s: float = PATIENCE_S,
    every_s: float = 0.05,
    ignoring: tuple[type[Exception], ...] = (),
) -> T:
    """Call ``condition`` until it gives something true, and return that.

    Parameters
    ----------
    condition
        Asked again and again; anything false means "not yet".
    what
        Completes the sentence "… did not happen"; shown when time is up.
    timeout_s, every_s
        How long to go on, and the pause between two calls. That something came in time proves nothing.
    ignoring
        Exceptions that mean "not yet"; the last one is shown when time is up.

    Raises
    ------
    TimeoutError
        The condition stayed false.
    """
    deadline = time.monotonic() + timeout_s
    last: Exception | None = None
    while True:
        try:
            value = condition()
        except ignoring as error:
            last = error
        else:
            if value:
                return value
        if time.monotonic() >= deadline:
            msg = f"after {timeout_s:g} s: {what}"
            raise TimeoutError(msg) from last
        time.sleep(every_s)
