"""Messages from Kafka, by a consumer group with cooperative rebalancing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from monitor.source.source import Fetched, Listener
from monitor.store.positions import Place
from schemas.errors import Unavailable

logger = logging.getLogger(__name__)
client_logger = logging.getLogger("librdkafka")

ADMIN_TIMEOUT_S = 10.0
# What the rest of the program relies on; the configuration cannot change it.
FIXED: Mapping[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    "partition.assignment.strategy": "cooperative-sticky",
}
PREFERRED: Mapping[str, Any] = {
    "topic.metadata.refresh.interval.ms": 10_000,
    "fetch.wait.max.ms": 100,
    # Enough to read on from after a commit. A reader that catches up has the queue full all the time.
    "queued.max.messages.kbytes": 32_768,
    "queued.min.messages": 200_000,
    "fetch.queue.backoff.ms": 20,  # else a second in which a queue of this size runs empty
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 2_000,
}
_POSITION_LOST = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}
_TOPIC_AWAY = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}


class KafkaSource:
    """Messages from Kafka.

    Parameters
    ----------
    bootstrap_servers, group_id : str
    options : dict
        Further options of librdkafka, as they are.
    failed : callable
        Told of every error that is not the end of a partition.

    Notes
    -----
    librdkafka runs the rebalance callbacks inside `fetch`. An exception there would destroy messages that
    were already taken, so it is kept and raised by `fetch` afterwards: the caller must then begin anew from
    the database.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        group_id: str,
        options: Mapping[str, Any],
        failed: Callable[[KafkaError], None] = lambda _error: None,
    ) -> None:
        self._group_id, self._failed = group_id, failed
        shared = {**options, "bootstrap.servers": bootstrap_servers}
        self._consumer = Consumer(
            {**PREFERRED, **shared, "group.id": group_id, **FIXED}, logger=client_logger
        )
        self._admin = AdminClient(
            {k: v for k, v in shared.items() if not k.startswith(("fetch.", "queued."))}
        )
        self._listener: Listener | None = None
        self._failure: BaseException | None = None
        self._places: dict[Place, int] = {}
        self._fresh: dict[Place, int] = {}
        self._held: list[Any] = []
        self._complained: set[str] = set()

    # --- assignment ----------------------------------------------------------------------------------------

    def subscribe(self, topics: Sequence[str], listener: Listener) -> None:
        """Ask for partitions of topics."""
        self._listener = listener
        self._consumer.subscribe(
            list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def _kept(self, action: Callable[[], None]) -> None:
        try:
            action()
        except BaseException as error:  # raised again by fetch, where no messages are lost by it
            self._failure = self._failure or error

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        def take() -> None:
            places = [Place(p.topic, p.partition) for p in partitions]
            starts = self._need_listener().assigned(places)
            consumer.incremental_assign(
                [TopicPartition(p.topic, p.partition, OFFSET_INVALID if start is None else start)
                 for p, start in starts.items()]
            )  # fmt: skip
            refused = [TopicPartition(p.topic, p.partition) for p, start in starts.items() if start is None]
            if refused:
                consumer.pause(refused)
            for place, start in starts.items():
                if start is not None:
                    self._fresh[place] = start

        self._kept(take)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._let_go([Place(p.topic, p.partition) for p in partitions])
        self._kept(lambda: self._need_listener().revoked([Place(p.topic, p.partition) for p in partitions]))
        self._kept(lambda: consumer.incremental_unassign(partitions))

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._let_go([Place(p.topic, p.partition) for p in partitions])
        self._kept(lambda: self._need_listener().lost([Place(p.topic, p.partition) for p in partitions]))
        self._kept(lambda: consumer.incremental_unassign(partitions))

    def _need_listener(self) -> Listener:
        if self._listener is None:
            msg = "subscribe first"
            raise RuntimeError(msg)
        return self._listener

    # --- messages ------------------------------------------------------------------------------------------

    def fetch(self, limit: int, timeout_s: float) -> Fetched:
        """Messages that are there, at most `limit`; waits up to `timeout_s` for the first.

        Raises
        ------
        Exception
            Whatever a rebalance callback raised. Everything in memory must then be dropped.
        """
        messages = self._consumer.consume(limit, timeout_s)
        if self._held:
            messages, self._held = [*self._held, *messages], []
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        fetched = Fetched()
        errors = [message.error() for message in messages]
        if any(errors):
            for message, error in zip(messages, errors, strict=True):
                if error is not None:
                    self._sort_out(message, error, fetched)
            messages = [m for m, error in zip(messages, errors, strict=True) if error is None]
        if self._fresh:
            # Messages that were taken before a partition came (back) to us may be from an older position.
            fresh, self._fresh = self._fresh, {}
            stale = {_place_of(m) for m in messages} & fresh.keys()
            messages = [m for m in messages if _place_of(m) not in stale]
            for place in stale:
                self.seek(place, fresh[place])
        if messages:
            self._fill(fetched, messages)
        return fetched

    def _fill(self, fetched: Fetched, messages: list[Any]) -> None:
        numbers = [message.partition() for message in messages]
        topics = [message.topic() for message in messages]
        if topics.count(topics[0]) == len(topics):
            used, index = np.unique(np.array(numbers, np.int64), return_inverse=True)
            fetched.places = [Place(topics[0], partition) for partition in used.tolist()]
            fetched.place = index
        else:
            known: dict[tuple[str, int], int] = {}
            pairs = [known.setdefault(pair, len(known)) for pair in zip(topics, numbers, strict=True)]
            fetched.places = [Place(*pair) for pair in known]
            fetched.place = np.array(pairs, np.int64)
        fetched.offset = np.array([message.offset() for message in messages], np.int64)
        fetched.timestamp_ms = np.array([message.timestamp()[1] for message in messages], np.int64)
        values = [message.value() for message in messages]
        fetched.values = [v or b"" for v in values] if None in values else values
        fetched.raw = messages

    def _sort_out(self, message: Any, error: KafkaError, fetched: Fetched) -> None:
        topic, partition = message.topic(), message.partition()
        place = None if topic is None or partition is None else Place(topic, partition)
        if error.code() == KafkaError._PARTITION_EOF and place is not None:
            fetched.ended.add(place)
            return
        self._failed(error)
        if error.code() in _POSITION_LOST and place is not None:
            self._need_listener().unreadable(place, error.str())
        elif error.fatal():
            raise KafkaException(error)
        elif error.code() in _TOPIC_AWAY:
            if error.str() not in self._complained:
                self._complained.add(error.str())
                logger.warning("waiting for a topic: %s", error.str())
        else:
            where = topic if place is None else f"{topic}/{partition}"
            logger.warning("kafka: %s: %s", where or f"group {self._group_id}", error.str())

    def key_of(self, message: Any) -> bytes | None:
        """Key of a message."""
        key = message.key()
        return key.encode() if isinstance(key, str) else key

    def headers_of(self, message: Any) -> list[tuple[str, bytes | None]]:
        """Headers of a message."""
        return list(message.headers() or [])

    # --- positions -----------------------------------------------------------------------------------------

    def range_of(self, place: Place) -> tuple[int, int]:
        """First offset that is kept, and the one after the last.

        Raises
        ------
        Unavailable
            If the broker does not answer.
        """
        try:
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(*_pair(place)), timeout=ADMIN_TIMEOUT_S
            )
        except KafkaException as error:
            msg = f"kafka: {error.args[0].str()}"
            raise Unavailable(msg) from error
        return low, high

    def topic_id(self, topic: str) -> str:
        """Identity of a topic; empty if the broker does not give its topics identities."""
        try:
            described = self._admin.describe_topics(TopicCollection([topic]), request_timeout=ADMIN_TIMEOUT_S)
            found = str(described[topic].result(ADMIN_TIMEOUT_S + 1).topic_id)
        except KafkaException as error:
            if error.args[0].code() == KafkaError._UNSUPPORTED_FEATURE:
                return ""
            msg = f"kafka: {error.args[0].str()}"
            raise Unavailable(msg) from error
        except TimeoutError as error:
            msg = f"kafka: nobody answers for topic {topic}"
            raise Unavailable(msg) from error
        return "" if set(found) <= {"A", "0", "-"} else found

    def seek(self, place: Place, offset: int) -> None:
        """Go on elsewhere in a partition that is assigned."""
        self._let_go([place])
        position = TopicPartition(*_pair(place), offset)
        try:
            self._consumer.seek(position)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._STATE:
                raise
            # Nothing is being fetched of it, for one because its old position was lost: begin with it anew.
            self._consumer.incremental_unassign([position])
            self._consumer.incremental_assign([position])

    def pause(self, places: Sequence[Place]) -> None:
        """Fetch nothing of some partitions for a while."""
        self._consumer.pause([TopicPartition(*_pair(p)) for p in places])

    def unpause(self, places: Sequence[Place]) -> None:
        """Fetch of them again."""
        self._consumer.resume([TopicPartition(*_pair(p)) for p in places])

    def keep_alive(self, seconds: float) -> None:
        """Let time pass while everything is paused; partitions may come and go meanwhile."""
        message: Any = self._consumer.poll(seconds)
        if message is not None and message.error() is None:
            self.seek(
                _place_of(message), message.offset()
            )  # taken before the pause took hold: ask for it again
        elif message is not None:
            self._held.append(message)  # an end, or a position that was lost, is told only once
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _let_go(self, places: Sequence[Place]) -> None:
        """Forget what was held back of partitions that are read from elsewhere."""
        self._held = [message for message in self._held if _place_of(message) not in places]

    def show_position(self, offsets: dict[Place, int]) -> None:
        """Commit offsets to Kafka, which are for display only."""
        if offsets:
            try:
                self._consumer.commit(
                    offsets=[TopicPartition(*_pair(p), offset) for p, offset in offsets.items()],
                    asynchronous=True,
                )
            except KafkaException as error:
                logger.info("offsets not shown in kafka: %s", error)

    def lag(self, place: Place, position: int) -> int | None:
        """Messages between a position and the end as the client last heard of it; None if it has not."""
        try:
            _, high = self._consumer.get_watermark_offsets(TopicPartition(*_pair(place)), cached=True)
        except KafkaException:
            return None
        return max(0, high - position) if high >= 0 else None

    def close(self) -> None:
        """Leave the group; `Listener.revoked` is called for what was assigned."""
        self._consumer.close()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure


def _place_of(message: Any) -> Place:
    return Place(message.topic(), message.partition())


def _pair(place: Place) -> tuple[str, int]:
    return place.topic, place.partition
