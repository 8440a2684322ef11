"""Problems of taking events in: partitions, lag, silence, dead letters."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import func, select

from monitor.attention.problem import Facts, Problem, counted, lasting, named
from monitor.dead_letters.letters import REPLAYED
from monitor.stops import rule_in
from monitor.store.positions import Place
from monitor.store.queries.times import FRESH_MS
from monitor.store.tables import dead_letter, gap

DAY_MS = 86_400_000
BEHIND_MS = 600_000
SILENT_MS = 3_600_000


def kafka_unreachable(reason: str) -> Problem:
    """Kafka did not answer this command."""
    do = "check address, network and rights: driftline check --live --no-messages"
    return Problem("DriftlineKafkaUnreachable", "warn", f"Kafka does not answer: {reason}", do)


def stopped(facts: Facts) -> Iterator[Problem]:
    """Partitions that are not read until somebody has decided."""
    for row in facts.partitions:
        if row.stopped_reason:
            is_rule = rule_in(row.stopped_reason) is not None
            at, words = ("position", "take in what is there") if is_rule else ("earliest", "accept the loss")
            command = f"driftline partitions resume --topic {row.topic} --partition {row.partition} --at {at}"
            what = f"{row.topic}/{row.partition} is stopped: {row.stopped_reason}"
            yield Problem("DriftlinePartitionStopped", "page", what, f"find out why; then {words}: {command}")


def unread(facts: Facts) -> Iterator[Problem]:
    """Partitions that no process has reported on for a while; stopped ones are told of already."""
    now_ms, rows = facts.now_ms, facts.partitions
    late = [row for row in rows if row.stopped_reason is None and now_ms - row.seen_at_ms > FRESH_MS]
    if late:
        ago = lasting(now_ms - max(row.seen_at_ms for row in late))
        what = (
            f"{len(late)} of {len(rows)} partitions are not being read: the last report is {ago} old "
            "(is driftline run running?)"
        )
        do = "look at the logs of the processes with the role ingest (or all), or start one: driftline run"
        yield Problem("DriftlineNothingIsRead", "page", what, do)


def gaps(facts: Facts) -> Iterator[Problem]:
    """Messages that were lost, which nobody has accepted although their partition is read again."""
    halted = {(row.topic, row.partition) for row in facts.partitions if row.stopped_reason}
    query = select(gap.c.topic, gap.c.partition).where(gap.c.accepted_at_ms.is_(None)).distinct()
    open_ = sorted({(row.topic, row.partition) for row in facts.connection.execute(query)} - halted)
    if open_:
        where = named(f"{topic}/{partition}" for topic, partition in open_)
        do = "see what was lost: driftline partitions list"
        yield Problem("DriftlineGapOpen", "warn", f"gaps that nobody has accepted: {where}", do)


def behind(facts: Facts) -> Iterator[Problem]:
    """Topics of which old messages are read while newer ones wait."""
    lags: dict[str, int] = {}
    ages: dict[str, int] = {}
    for row in facts.partitions:
        end = (facts.ends or {}).get(Place(row.topic, row.partition))
        if end is None or row.stopped_reason or row.stamp_ms is None or end <= row.next_offset:
            continue
        lags[row.topic] = lags.get(row.topic, 0) + end - row.next_offset
        ages[row.topic] = max(ages.get(row.topic, 0), facts.now_ms - row.stamp_ms)
    for topic, lag in lags.items():
        if ages[topic] > BEHIND_MS:
            waiting = counted(lag, "message waits", "messages wait")
            what = f"{topic} is {lasting(ages[topic])} behind: {waiting}"
            do = "if it grows, start more processes: driftline run --role ingest"
            yield Problem("DriftlineLagGrows", "warn", what, do)


def silent(facts: Facts) -> Iterator[Problem]:
    """Streams that have gone quiet although they are read."""
    newest: dict[str, int] = {}
    for row in facts.partitions:
        if row.last_event_at_ms is not None and facts.now_ms - row.seen_at_ms <= FRESH_MS:
            newest[row.topic] = max(newest.get(row.topic, 0), row.last_event_at_ms)
    kinds = {stream.topic: stream.kind for stream in facts.configuration.streams}
    events = {topic: at_ms for topic, at_ms in newest.items() if kinds.get(topic) == "predictions"}
    if events and facts.now_ms - max(events.values()) > SILENT_MS:
        what = (
            f"no event has come for {lasting(facts.now_ms - max(events.values()))} ({named(sorted(events))})"
        )
        do = "look at the producers; is the topic there, and readable? driftline check --live --no-messages"
        yield Problem("DriftlineNoData", "warn", what, do)
        return
    quiet = {topic: at_ms for topic, at_ms in newest.items() if kinds.get(topic) == "labels"}
    if quiet and facts.now_ms - max(quiet.values()) > DAY_MS:
        what = f"no label has come for {lasting(facts.now_ms - max(quiet.values()))} ({named(sorted(quiet))})"
        do = "look at whatever sends labels; without them performance is only estimated"
        yield Problem("DriftlineLabelsSilent", "warn", what, do)


def dead_letters(facts: Facts) -> Iterator[Problem]:
    """Messages of the last day that could not be taken in, and have not been since."""
    recent = dead_letter.c.stored_at_ms >= facts.now_ms - DAY_MS
    open_ = dead_letter.c.status != REPLAYED
    query = select(func.count()).select_from(dead_letter).where(recent, open_)
    number = int(facts.connection.execute(query).scalar_one())
    if number:
        what = counted(number, "dead letter in the last day", "dead letters in the last day")
        do = "/events of the console says why; once fixed: driftline replay --dead-letters --dry-run"
        yield Problem("DriftlineDeadLetters", "warn", what, do)
