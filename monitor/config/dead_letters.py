"""Where dead letters are sent on to."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from monitor.config.problem import show
from monitor.config.section import Finding, Section
from monitor.config.service import Topics
from monitor.config.values import TopicName


class DeadLetters(Section):
    """Dead letters are sent on to a topic, with the headers that Kafka Connect gives its own."""

    topic: TopicName
    """Topic to send them to; none of the streams, and none that Driftline writes besides."""


def dead_letter_problems(
    options: DeadLetters | None, streams: Sequence[str], topics: Topics
) -> Iterator[Finding]:
    """Find out whether the topic is used for something else.

    Parameters
    ----------
    options : DeadLetters or None
    streams : sequence of str
        Topics that are read.
    topics : Topics
        Topics that Driftline writes.
    """
    if options is None:
        return
    place = ("dead_letters", "topic")
    own: Collection[str] = (topics.control, topics.results, topics.alerts)
    if options.topic in streams:
        yield place, f"{show(options.topic)} is also one of the streams: it would be read again and again"
    elif options.topic in own:
        yield place, f"{show(options.topic)} is also one of the topics that Driftline writes"
