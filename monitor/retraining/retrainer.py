"""Starts the runs that the ledger asks for, each once, and follows them to their end.

A request is claimed in a short transaction that counts the attempt, started outside of any, and what came of
it recorded in another. Whoever dies in between has made an attempt: the next one asks the target for the run
before it starts one. Where a target cannot tell, nothing is started a second time; a person decides.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta

from sqlalchemy import Connection, Engine

from alerting.alert import ChangeKind
from alerting.retraining.base import RetrainingTarget
from alerting.retraining.guards import Standing
from alerting.retraining.run import Run, RunState
from monitor.clock import Clock
from monitor.config import Configuration
from monitor.deliver import backoff_s, log_bug
from monitor.incidents.recording import say
from monitor.retraining.proposals import read_request
from monitor.store import incidents, retraining
from monitor.store.engine import immediate
from monitor.store.retraining import Claimed
from monitor.telemetry import Retrained, Telemetry
from schemas.errors import DeliveryError, RetryLater, StoreError, Unavailable

logger = logging.getLogger("driftline.retraining")

LEASE_MS = 180_000
WORK_BUDGET_MS = 120_000
POLL_S = 2.0
FOLLOW_FIRST_MS = 10_000
FOLLOW_LONGEST_MS = 300_000
PATIENCE_MS = 3 * 86_400_000
FOLLOWED_FOR_MS = 14 * 86_400_000
LEAST_WAIT_TO_FIND_S = 30.0
AFTER_MS = timedelta(milliseconds=1)
UNTOLD = "the target does not tell how the run ended"


class Retrainer:
    """Works off the ledger; any number of processes may share it.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    targets : mapping of str to RetrainingTarget
        By the receiver's name in the configuration.
    clock : Clock
        Wall clock.
    rng : random.Random
        Spreads the delays.
    telemetry : Telemetry

    Guarantees
    ----------
    A target that fails in a way that nobody has foreseen is tried again and stops no other.
    """

    def __init__(
        self,
        configuration: Configuration,
        engine: Engine,
        targets: Mapping[str, RetrainingTarget],
        clock: Clock,
        rng: random.Random,
        telemetry: Telemetry,
    ) -> None:
        self._configuration, self._engine, self._targets = configuration, engine, dict(targets)
        self._clock, self._rng, self._telemetry = clock, rng, telemetry
        self._wake = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop; looks every two seconds, and at once after `wake`."""
        while not stop.is_set():
            self._wake.clear()
            try:
                worked = self.work()
            except Unavailable as error:
                logger.warning("retraining waits: %s", error)
                worked = 0
            if worked == 0 and not stop.is_set():
                self._wake.wait(POLL_S)

    def wake(self) -> None:
        """Say that there may be something to do, or that `run` should look at its stop event."""
        self._wake.set()

    def close(self) -> None:
        """Let go of the targets' connections."""
        for target in self._targets.values():
            target.close()

    def work(self, limit: int = 10) -> int:
        """Start and follow what is due now.

        Returns
        -------
        int
            Number of requests that were worked on.

        Raises
        ------
        Unavailable
            If the database is away. A run whose start could not be recorded is found again, by the target's
            own means, when its lease has run out.
        """
        if not self._targets:
            return 0
        now_ms, token = self._clock.now_ms(), secrets.token_hex(16)
        with immediate(self._engine) as connection:
            claimed = retraining.claim(
                connection, sorted(self._targets), now_ms, now_ms + LEASE_MS, token, limit
            )
        for done, one in enumerate(claimed):
            if one.lease_until_ms - self._clock.now_ms() < WORK_BUDGET_MS:
                self._release(claimed[done:])
                return done
            self._work_on(one, self._targets[one.receiver])
        return len(claimed)

    def _release(self, claimed: Sequence[Claimed]) -> None:
        """Give back what the lease is too short for: somebody else would begin it as well."""
        with immediate(self._engine) as connection:
            retraining.release(connection, claimed, self._clock.now_ms())

    def _work_on(self, one: Claimed, target: RetrainingTarget) -> None:
        try:
            if one.state is Standing.DUE or (target.can_follow and not one.run_id):
                self._start(one, target)  # also what has only told itself that it runs: it has to be found
            else:
                self._follow(one, target)
        except RetryLater as error:
            self._retry(one, target, error)
        except DeliveryError as error:
            self._give_up(one, Standing.FAILED if one.state is Standing.DUE else Standing.LOST, str(error))
        except Unavailable:
            raise
        except Exception as error:  # a bug in one target must not stop the others
            log_bug(f"receiver {one.receiver}", error)
            self._retry(one, target, RetryLater(f"unexpected {type(error).__name__}, see the log"))

    def _start(self, one: Claimed, target: RetrainingTarget) -> None:
        request = read_request(one.request)
        certain = target.idempotent or target.can_find
        if one.attempts > 1 and not certain and not one.run_id:
            why = "an earlier attempt may have started a run, and the target cannot tell: look there"
            self._give_up(one, Standing.LOST, why)
            return
        run = target.start(request)
        about = {"model": request.model, "receiver": one.receiver, "incident": one.incident_id}
        logger.info("retraining started: %s", run.id, extra=about)
        link = f": {run.url}" if run.url else f" (run {run.id})"
        ended = f"; it has {run.state}" if run.state.is_over else ""  # an earlier attempt, found again
        self._record(one, run, f"started by {one.receiver}{link}{ended}", is_news=True)

    def _follow(self, one: Claimed, target: RetrainingTarget) -> None:
        if not target.can_follow:
            self._give_up(one, Standing.LOST, UNTOLD, is_news=False)
            return
        run = target.follow(Run(one.run_id, one.run_url, RunState.RUNNING))
        if not run.state.is_over and self._clock.now_ms() - one.created_at_ms > FOLLOWED_FOR_MS:
            self._give_up(one, Standing.LOST, "it was followed for two weeks and has not ended")
            return
        detail = f" ({run.detail})" if run.detail else ""
        self._record(one, run, f"run {run.id} {run.state}{detail}", is_news=run.state.is_over)

    def _record(self, one: Claimed, run: Run, words: str, *, is_news: bool) -> None:
        now_ms = self._clock.now_ms()
        with immediate(self._engine) as connection:
            if is_news:
                incidents.lock(connection)  # before any row: see `monitor.store.alerts.lock_version`
            again_ms = now_ms + self._until_next_look_ms(one)
            if not retraining.record_run(connection, one, run, words, again_ms, now_ms):
                return  # the lease ran out, and somebody else works on it
            if is_news:
                self._tell(connection, one, words, now_ms)
        if is_news:
            self._count(one, str(run.state) if run.state.is_over else "started")

    def _until_next_look_ms(self, one: Claimed) -> int:
        target = self._targets[one.receiver]
        if not target.can_follow:
            return target.options.cooldown // AFTER_MS
        return min(FOLLOW_LONGEST_MS, FOLLOW_FIRST_MS << min(one.attempts, 10))

    def _retry(self, one: Claimed, target: RetrainingTarget, error: RetryLater) -> None:
        now_ms = self._clock.now_ms()
        if one.state is Standing.DUE and now_ms - one.created_at_ms > PATIENCE_MS:
            self._give_up(one, Standing.FAILED, f"given up after three days: {error}")
            return
        if one.state is Standing.STARTED and now_ms - one.created_at_ms > FOLLOWED_FOR_MS:
            self._give_up(one, Standing.LOST, f"it was followed for two weeks, at last in vain: {error}")
            return
        wait_s = max(backoff_s(one.attempts - 1, self._rng), error.after_s or 0.0)
        if one.state is Standing.DUE and not target.idempotent:
            wait_s = max(wait_s, LEAST_WAIT_TO_FIND_S)  # until a run that was started can be found
        with immediate(self._engine) as connection:
            retraining.retry(connection, one, str(error), now_ms + round(1_000 * wait_s), now_ms)
        self._count(one, "retried")

    def _give_up(self, one: Claimed, standing: Standing, why: str, *, is_news: bool = True) -> None:
        now_ms = self._clock.now_ms()
        with immediate(self._engine) as connection:
            if is_news:
                incidents.lock(connection)
            if not retraining.give_up(connection, one, standing, why, now_ms):
                return
            about = {"model": one.model, "receiver": one.receiver, "incident": one.incident_id}
            logger.warning("retraining was given up: %s: %s", standing, why, extra=about)
            if is_news:
                self._tell(connection, one, f"{standing}: {why}", now_ms)
        self._count(one, standing.value)

    def _tell(self, connection: Connection, one: Claimed, words: str, now_ms: int) -> None:
        """Say in the incident what became of the run; the lock of incidents is held."""
        try:
            known = incidents.load(connection, one.incident_id)
        except StoreError as error:  # the ledger has to go on all the same
            logger.error("incident %s cannot be told of its run: %s", one.incident_id, error)  # noqa: TRY400
            return
        if known is not None and known.alerts:
            say(connection, self._configuration, known, ChangeKind.RETRAINING, words, "driftline", now_ms)

    def _count(self, one: Claimed, outcome: str) -> None:
        self._telemetry.emit(Retrained(one.model, one.receiver, outcome))
