"""Slow work in a thread that nobody has to wait for: whoever wants to leave may, while it goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

LOOK_EVERY_S = 0.05


class InterruptedDemo(Exception):  # noqa: N818 - a person's wish, not an error
    """Somebody wants to leave."""


class Background(Generic[T]):
    """One piece of work, begun at once.

    Parameters
    ----------
    work : callable

    Examples
    --------
    >>> Background(lambda: 6 * 7).result(threading.Event())
    42
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._results: list[T] = []
        self._error: BaseException | None = None
        self._done = threading.Event()
        threading.Thread(target=self._run, name="background", daemon=True).start()

    def result(self, stop: threading.Event) -> T:
        """Wait for the result.

        Raises
        ------
        InterruptedDemo
            If `stop` is set before there is one.
        Exception
            Whatever the work raised.
        """
        while not self._done.wait(LOOK_EVERY_S):
            if stop.is_set():
                raise InterruptedDemo
        if self._error is not None:
            raise self._error
        return self._results[0]

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except BaseException as error:  # raised again by result
            self._error = error
        finally:
            self._done.set()
