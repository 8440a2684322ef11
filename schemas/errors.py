"""Everything that Driftline raises on purpose.

::

    DriftlineError
    ├── ConfigurationError      one or more problems in a configuration file      (exit code 2)
    ├── UsageError              an argument that cannot be meant                  (exit code 2)
    ├── EventError              one event cannot be read: becomes a dead letter
    ├── ProfileError            bytes that are not a profile, or profiles that cannot be merged
    ├── UnusableReference       a reference that cannot be built, found or used
    ├── StoreError
    │   ├── Unavailable         a system we depend on is away; try again          (exit code 3)
    │   └── Fenced              another process owns the partition now
    └── DeliveryError           a receiver refused a message
        └── RetryLater          the same message may go through later
"""

from __future__ import annotations


class DriftlineError(Exception):
    """Root of the tree."""


class ConfigurationError(DriftlineError):
    """A configuration that cannot be used; holds every problem, not only the first.

    Parameters
    ----------
    problems : list of str
        Each ``file:line: path: what is wrong (what is allowed)``.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class UsageError(DriftlineError):
    """An argument that cannot be meant."""


class EventError(DriftlineError):
    """One event cannot be read; it becomes a dead letter with this message as its reason."""


class ProfileError(DriftlineError):
    """Bytes that are not a profile, or profiles that cannot be merged."""


class UnusableReference(DriftlineError):  # noqa: N818 - the builtin ReferenceError means something else
    """A reference that cannot be built, found or used."""


class StoreError(DriftlineError):
    """The database or the broker did not do what was asked."""


class Unavailable(StoreError):  # noqa: N818 - reads as a state in `except Unavailable`
    """A system that we depend on is away; nothing was changed and the same call may be tried again."""


class Fenced(StoreError):  # noqa: N818 - the usual word for it
    """Another process owns the partition now; everything held in memory for it must be dropped."""


class DeliveryError(DriftlineError):
    """A receiver refused a message and will refuse it again."""


class RetryLater(DeliveryError):  # noqa: N818 - reads as an instruction
    """The same message may go through later.

    Parameters
    ----------
    message : str
        What happened, without secrets.
    after_s : float, optional
        Earliest time for the next attempt, in seconds from now, when the receiver said so.
    """

    def __init__(self, message: str, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s
