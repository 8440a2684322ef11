"""Slow work in a thread: whoever wants to leave need not wait for all of it, only for the step under way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")

LOOK_EVERY_S = 0.05


class InterruptedDemo(Exception):  # noqa: N818 - a person's wish, not an error
    """Somebody wants to leave."""


class Background(Generic[T]):
    """One piece of work, begun at once.

    Parameters
    ----------
    work : callable
        Given a function to call between its steps, which raises `InterruptedDemo` once nobody waits any more.

    Notes
    -----
    Leaving the context waits for the step under way. A thread that is still inside a library when the
    interpreter ends can keep the process from ending.

    Examples
    --------
    >>> with Background(lambda step: 6 * 7) as work:
    ...     work.result(threading.Event())
    42
    """

    def __init__(self, work: Callable[[Callable[[], None]], T]) -> None:
        self._work = work
        self._results: list[T] = []
        self._error: BaseException | None = None
        self._done, self._left = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="background", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        self._thread.join()

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

    def _step(self) -> None:
        if self._left.is_set():
            raise InterruptedDemo

    def _run(self) -> None:
        try:
            self._results.append(self._work(self._step))
        except BaseException as error:  # raised again by result
            self._error = error
        finally:
            self._done.set()
