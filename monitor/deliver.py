"""Delivers what waits in the outbox: claim, send, record.

A message is claimed in a short transaction, sent outside any, and its outcome recorded in another. Whatever
dies in between, the lease runs out and the message is sent again under the same id: at least once, and
receivers can tell repetitions.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine

from alerting.finding import instant
from alerting.held import HeldNotice, held_notice
from alerting.http.trace_context import called_in
from alerting.limit import Limit
from alerting.notice import Notice
from alerting.notifiers.base import Notifier, ReceiverDisabled
from alerting.outbox import OutboxRow
from alerting.payload import Payload, decode, encode
from monitor.clock import Clock
from monitor.store import outbox
from monitor.store.engine import immediate, reading
from monitor.store.outbox import ClaimedRow
from monitor.tracing.tracer import span
from schemas.errors import DeliveryError, RetryLater, StoreError, Unavailable

logger = logging.getLogger("driftline.deliver")

LEASE_MS = 120_000
SEND_BUDGET_MS = 60_000
SHORTEST_DELAY_S = 0.5
FIRST_DELAY_S = 2.0
LONGEST_DELAY_S = 3_600.0
PATIENCE_MS = 3 * 86_400_000
LEAST_ATTEMPTS = 10
POLL_S = 1.0
MOST_FOLDED = 1_000
RESEND_EVERY_MS = 15_000
BATCH = 20

OnOutcome = Callable[[str, str], None]


@dataclass(frozen=True)
class Outcome:
    """What became of one attempt.

    `result` is delivered, retried or dead. `state` is what the notifier wants kept about the alert;
    `disabled` says why the receiver wants nothing any more.
    """

    row: ClaimedRow
    result: str
    error: str = ""
    after_s: float | None = None
    state: dict[str, Any] | None = None
    disabled: str = ""


class Deliverer:
    """Sends due messages; any number of deliverers may share a database.

    Parameters
    ----------
    engine : Engine
        Where the outbox is.
    notifiers : mapping of str to Notifier
        By the receiver's name in the configuration. Messages to others wait, up to three days.
    clock : Clock
        Wall clock for leases and delays.
    rng : random.Random
        Spreads the delays.
    on_outcome : callable, optional
        Called with the receiver and ``delivered``, ``retried``, ``dead`` or ``superseded``, once for each
        message and attempt.
    workers : int
        Receivers served at the same time; the messages of one receiver go one after another.

    Guarantees
    ----------
    Messages about one alert reach one receiver in order. A message is given up only after three days and ten
    attempts, or when the receiver refuses it for good.
    """

    def __init__(
        self,
        engine: Engine,
        notifiers: Mapping[str, Notifier],
        clock: Clock,
        rng: random.Random,
        on_outcome: OnOutcome | None = None,
        workers: int = 16,
    ) -> None:
        self._engine = engine
        self._notifiers = dict(notifiers)
        self._clock = clock
        self._rng = rng
        self._on_outcome = on_outcome or (lambda _receiver, _outcome: None)
        self._workers = workers
        self._held_until_ms: dict[str, int] = {}
        self._resend_at_ms: dict[str, int] = {}
        self._unrecorded: dict[str, Outcome] = {}
        self._wake = threading.Event()

    def deliver_due(self, limit: int = BATCH) -> int:
        """Send what is due now, and wait until that is done.

        Parameters
        ----------
        limit : int
            Most messages for each receiver.

        Returns
        -------
        int
            Number of attempts made.

        Raises
        ------
        Unavailable
            If the database is away. Outcomes that could not be recorded are kept and recorded by the next
            call.
        """
        names = self._due()
        if self._workers == 1 or len(names) == 1:
            return sum(self._serve(name, limit) for name in names)
        with ThreadPoolExecutor(max(1, min(self._workers, len(names))), "deliver") as pool:
            return sum(pool.map(lambda name: self._serve(name, limit), names))

    def run(self, stop: threading.Event) -> None:
        """Deliver until told to stop; looks every second, and at once after `wake`.

        Every receiver is served on its own: one that hangs holds up nobody else.
        """
        serving: dict[str, Future[int]] = {}
        with ThreadPoolExecutor(self._workers, "deliver") as pool:
            while not stop.is_set():
                self._wake.clear()
                made = self._finished(serving)
                self._begin(pool, serving)
                if made == 0 and not stop.is_set():
                    self._wake.wait(POLL_S)

    def wake(self) -> None:
        """Say that there may be something to deliver, or that `run` should look at its stop event."""
        self._wake.set()

    def close(self) -> None:
        """Let go of the receivers' connections."""
        for notifier in self._notifiers.values():
            notifier.close()

    def _begin(self, pool: ThreadPoolExecutor, serving: dict[str, Future[int]]) -> None:
        """Serve every receiver that has something due and is not being served."""
        try:
            names = self._due()
        except Unavailable as error:
            logger.warning("deliveries wait: %s", error)
            return
        for name in names:
            if name not in serving:
                serving[name] = pool.submit(self._serve, name, BATCH)
                serving[name].add_done_callback(self._wake_for_more)

    def _finished(self, serving: dict[str, Future[int]]) -> int:
        """Forget the receivers that have been served; count the attempts that were made."""
        made = 0
        for name in [name for name, future in serving.items() if future.done()]:
            try:
                made += serving.pop(name).result()
            except Unavailable as error:
                logger.warning("deliveries wait: %s", error, extra={"receiver": name})
        return made

    def _wake_for_more(self, served: Future[int]) -> None:
        if not served.cancelled() and served.exception() is None and served.result():
            self._wake.set()

    def _due(self) -> list[str]:
        """Name the receivers to serve now, and give up what is for nobody any more."""
        self._record_leftovers()
        self._send_again()
        now_ms = self._clock.now_ms()
        with reading(self._engine) as connection:
            due = outbox.due_receivers(connection, now_ms)
        if due - set(self._notifiers):
            with immediate(self._engine) as connection:
                outbox.bury_unknown(connection, list(self._notifiers), now_ms, now_ms - PATIENCE_MS)
        return sorted(
            name for name in due & set(self._notifiers) if self._held_until_ms.get(name, 0) <= now_ms
        )

    def _serve(self, receiver: str, limit: int) -> int:
        """Send a batch to one receiver; stop early if it asks to wait or the lease gets short."""
        rows = self._claim(receiver, limit)
        for done, row in enumerate(rows):
            if row.lease_until_ms - self._clock.now_ms() < SEND_BUDGET_MS:
                self._release(rows[done:], self._clock.now_ms())
                return done
            outcome = self._send(row)
            self._record(outcome)
            if outcome.after_s is not None or outcome.disabled:
                self._hold(receiver, outcome.after_s or 0.0)
                self._release(rows[done + 1 :], self._held_until_ms[receiver])
                return done + 1
        return len(rows)

    def _claim(self, receiver: str, limit: int) -> list[ClaimedRow]:
        notifier = self._notifiers[receiver]
        now_ms = self._clock.now_ms()
        superseded = dead = 0
        rows: list[ClaimedRow] = []
        with immediate(self._engine) as connection:
            reason = _disabled(connection, receiver, notifier)
            if reason:
                dead = outbox.bury(connection, receiver, now_ms, reason)
            else:
                if notifier.only_latest_matters:
                    superseded = outbox.supersede(connection, receiver, now_ms)
                room = min(limit, self._room(connection, receiver, notifier, now_ms))
                token = secrets.token_hex(16)
                rows = outbox.claim(connection, receiver, now_ms, now_ms + LEASE_MS, token, room)
        self._count(receiver, "superseded", superseded)
        self._count(receiver, "dead", dead)
        return rows

    def _room(self, connection: Connection, receiver: str, notifier: Notifier, now_ms: int) -> int:
        """How many messages the receiver's limit allows now; folds into a list what would go beyond it."""
        allowed = notifier.options.limit
        if allowed is None:
            return MOST_FOLDED
        outbox.lock_receiver(connection, receiver)
        sent = outbox.sent_since(connection, receiver, now_ms - allowed.per_ms)
        if len(sent) >= allowed.count:
            self._held_until_ms[receiver] = sent[-allowed.count] + allowed.per_ms
            return 0
        room = allowed.count - len(sent) - outbox.in_hand(connection, receiver, now_ms)
        if room <= 0:  # others are sending what there was room for
            return 0
        if notifier.reads_lists:
            self._fold(connection, receiver, allowed, room, now_ms)
        return room

    def _fold(self, connection: Connection, receiver: str, allowed: Limit, room: int, now_ms: int) -> None:
        """Make one list of all messages but those that there is room for beside the list."""
        rows = outbox.due_rows(connection, receiver, now_ms, MOST_FOLDED)
        if len(rows) <= room:
            return
        foldable = [(row.id, notice) for row in rows[room - 1 :] if (notice := _notice_in(row.payload))]
        if len(foldable) < 2:
            return
        held = held_notice([notice for _, notice in foldable], receiver, str(allowed), instant(now_ms))
        row = OutboxRow(held.id, f"held-{held.id}", 1, receiver, encode(held))
        outbox.fold(connection, [id_ for id_, _ in foldable], row, now_ms)

    def _send_again(self) -> None:
        """Let open incidents be told again to receivers that take them for over otherwise."""
        now_ms = self._clock.now_ms()
        for name, notifier in self._notifiers.items():
            if notifier.resend_after_ms is not None and now_ms >= self._resend_at_ms.get(name, 0):
                self._resend_at_ms[name] = now_ms + RESEND_EVERY_MS
                with immediate(self._engine) as connection:
                    outbox.send_again(connection, name, now_ms - notifier.resend_after_ms, now_ms)

    def _send(self, row: ClaimedRow) -> Outcome:
        """Make one attempt, as a span that the receiver can go on with."""
        about = {"driftline.receiver": row.receiver, "driftline.incident": row.alert_id}
        with span("deliver", about, kind="client") as sending:
            identity = sending.identity
            with called_in("" if identity is None else identity.traceparent):
                outcome = self._attempt(row)
            sending.set({"driftline.outcome": outcome.result})
        return outcome

    def _attempt(self, row: ClaimedRow) -> Outcome:
        """Make one attempt; every way in which it can end is an outcome."""
        try:
            with reading(self._engine) as connection:
                state = outbox.get_receiver_state(connection, row.receiver, row.alert_id)
            kept = self._tell(row.receiver, decode(row.payload), state)
        except RetryLater as error:
            return self._failed(row, str(error), error.after_s)
        except ReceiverDisabled as error:
            return Outcome(row, "dead", str(error), disabled=str(error))
        except DeliveryError as error:
            return Outcome(row, "dead", str(error))
        except Unavailable:
            raise
        except StoreError as error:  # a payload that cannot be read will not become readable
            return Outcome(row, "dead", str(error))
        except Exception as error:  # a bug in one notifier must not stop the others
            log_bug(f"receiver {row.receiver}", error)
            return self._failed(row, f"unexpected {type(error).__name__}, see the log", None)
        return Outcome(row, "delivered", state=kept)

    def _tell(self, receiver: str, notice: Payload, state: dict[str, Any] | None) -> dict[str, Any] | None:
        notifier = self._notifiers[receiver]
        if isinstance(notice, Notice):
            return notifier.send(notice, state)
        if isinstance(notice, HeldNotice):
            notifier.send_list(notice)
        else:
            notifier.send_digest(notice)
        return None

    def _failed(self, row: ClaimedRow, error: str, after_s: float | None) -> Outcome:
        too_old = self._clock.now_ms() - row.created_at_ms > PATIENCE_MS
        if too_old and row.attempts + 1 >= LEAST_ATTEMPTS:
            return Outcome(row, "dead", error, after_s)
        return Outcome(row, "retried", error, after_s)

    def _record(self, outcome: Outcome) -> None:
        """Write an outcome; keep it for the next call if the database is away."""
        try:
            self._write_or_keep(outcome)
        except Unavailable:
            raise
        except Exception as error:  # what a notifier wants kept may be anything, and would fail again
            log_bug(f"receiver {outcome.row.receiver}", error)
            text = f"unexpected {type(error).__name__} when its outcome was recorded, see the log"
            outcome = self._failed(outcome.row, text, None)
            self._write_or_keep(outcome)
        _note(outcome)
        self._count(outcome.row.receiver, outcome.result, 1)

    def _record_leftovers(self) -> None:
        for id_ in list(self._unrecorded):
            self._record(self._unrecorded.pop(id_))

    def _write_or_keep(self, outcome: Outcome) -> None:
        try:
            self._write(outcome)
        except Unavailable:
            self._unrecorded[outcome.row.id] = outcome
            raise

    def _write(self, outcome: Outcome) -> None:
        row, now_ms = outcome.row, self._clock.now_ms()
        with immediate(self._engine) as connection:
            if outcome.result == "delivered":
                outbox.mark_delivered(connection, row, now_ms, outcome.state)
            elif outcome.result == "dead":
                outbox.mark_dead(connection, row, now_ms, outcome.error)
            else:
                outbox.mark_retry(connection, row, now_ms + self._delay_ms(outcome), outcome.error)
            if outcome.disabled:
                fingerprint = self._notifiers[row.receiver].fingerprint
                state = {"disabled": outcome.disabled, "fingerprint": fingerprint}
                outbox.set_receiver_state(connection, row.receiver, "", state)

    def _release(self, rows: list[ClaimedRow], not_before_ms: int) -> None:
        if rows:
            with immediate(self._engine) as connection:
                outbox.release(connection, rows, not_before_ms)

    def _hold(self, receiver: str, seconds: float) -> None:
        self._held_until_ms[receiver] = self._clock.now_ms() + round(seconds * 1_000)

    def _delay_ms(self, outcome: Outcome) -> int:
        """Exponential with full jitter, and never earlier than the receiver asked for."""
        return round(1_000 * max(backoff_s(outcome.row.attempts, self._rng), outcome.after_s or 0.0))

    def _count(self, receiver: str, outcome: str, times: int) -> None:
        for _ in range(times):
            self._on_outcome(receiver, outcome)


def backoff_s(attempts: int, rng: random.Random) -> float:
    """Draw how long to wait after a failure.

    Parameters
    ----------
    attempts : int
        Failures before this one.
    rng : random.Random
        Seeded generator.

    Returns
    -------
    float
        Uniform between half a second and 2 s × 2^attempts, at most an hour.

    References
    ----------
    M. Brooker, "Exponential backoff and jitter", AWS Architecture Blog, 2015: full jitter.

    Examples
    --------
    >>> rng = random.Random(7)
    >>> [round(backoff_s(attempts, rng), 1) for attempts in (0, 3, 30)]
    [1.0, 2.8, 2343.5]
    """
    ceiling_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(attempts, 32))
    return rng.uniform(SHORTEST_DELAY_S, ceiling_s)


def _notice_in(payload: str) -> Notice | None:
    """Read a message that can be listed; others, and what cannot be read, come in their turn."""
    try:
        found = decode(payload)
    except StoreError:
        return None
    return found if isinstance(found, Notice) else None


def _note(outcome: Outcome) -> None:
    """Log what became of an attempt."""
    row = outcome.row
    about = {"receiver": row.receiver, "incident": row.alert_id, "attempts": row.attempts + 1}
    if outcome.result == "dead":
        logger.error("a delivery was given up: %s", outcome.error, extra=about)
    elif outcome.result == "retried":
        logger.warning("a delivery is tried again: %s", outcome.error, extra=about)
    else:
        logger.info("delivered", extra=about)
    if outcome.disabled:
        logger.error(
            "the receiver wants nothing any more: %s", outcome.disabled, extra={"receiver": row.receiver}
        )


def log_bug(what: str, error: Exception) -> None:
    """Log where an unforeseen error came from, without its text, which may hold anything."""
    trace = "".join(traceback.format_tb(error.__traceback__))
    logger.error("%s failed with %s\n%s", what, type(error).__name__, trace)


def _disabled(connection: Connection, receiver: str, notifier: Notifier) -> str:
    """Say why a receiver wants nothing any more; a change of its options gives it another chance."""
    state = outbox.get_receiver_state(connection, receiver, "")
    if state is None or state.get("fingerprint") != notifier.fingerprint:
        return ""
    return str(state.get("disabled", ""))
