"""Partitions that are not read any more: why, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from monitor.stops import rule_in


class Reads(Protocol):
    """A partition, as the accounting and the status have it."""

    topic: str
    partition: int
    stopped_reason: str | None


@dataclass(frozen=True)
class Stopped:
    """A partition that is stopped."""

    topic: str
    partition: int
    reason: str
    what_to_do: str
    command: str


def stopped_of(partitions: Iterable[Reads]) -> list[Stopped]:
    """Say of each stopped partition what a person can do."""
    return [_stopped(one, one.stopped_reason) for one in partitions if one.stopped_reason]


def _stopped(one: Reads, reason: str) -> Stopped:
    if rule_in(reason) is None:
        at, words = "earliest", (
            "Events are gone from Kafka, or the topic is another one than before. Find out why first; then "
            "accept the loss, and reading goes on with the first message that is still there:"
        )  # fmt: skip
    else:
        at, words = "position", (
            "A rule of a contract stopped it, and nothing is lost: mend the sender, or change the rule. To "
            "take in what is there all the same:"
        )  # fmt: skip
    command = f"driftline partitions resume --topic {one.topic} --partition {one.partition} --at {at}"
    return Stopped(one.topic, one.partition, reason, words, command)
