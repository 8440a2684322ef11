"""Nothing in the outbox is lost, reordered or given up without a reason, whatever dies."""

import itertools
import random
import threading
from contextlib import contextmanager, suppress

import pytest
from sqlalchemy import select

from alerting.alert import acknowledge
from alerting.codec import from_bytes
from alerting.finding import Kind, instant
from alerting.notifiers.base import ReceiverDisabled
from alerting.policy import Match, Route
from monitor import deliver
from monitor.clock import ManualClock
from monitor.deliver import LEASE_MS, PATIENCE_MS, Deliverer, backoff_s
from monitor.store import outbox
from monitor.store.alerts import load, load_open, load_to_change
from monitor.store.engine import immediate, reading
from monitor.store.tables import alert as alert_table
from monitor.store.tables import alert_event
from monitor.store.tables import outbox as outbox_table
from schemas.errors import DeliveryError, RetryLater, Unavailable
from tests.alerting.factory import START_MS, play, rows_of, window
from tests.monitor.delivery_world import (
    HOOK_ONLY,
    ROUTES,
    Endpoint,
    Hook,
    HookOptions,
    deliverer,
    drain,
    judge,
    opened,
    rows,
    save,
    states,
)


class Killed(BaseException):
    """The process died here."""


@pytest.fixture
def engine(database_url):
    with opened(database_url) as made:
        yield made


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def endpoint():
    return Endpoint()


@pytest.fixture
def chat():
    return Endpoint()


def test_a_change_is_delivered_once_with_its_state_kept(engine, clock, endpoint):
    alert = judge(engine, clock, window(0, ["age"]))
    sender = deliverer(engine, clock, endpoint)
    assert sender.deliver_due() == 1
    assert sender.deliver_due() == 0
    judge(engine, clock, window(1, ["score"]))
    assert deliverer(engine, clock, endpoint).deliver_due() == 1
    assert endpoint.sequences(alert.id) == [1, 2]
    with reading(engine) as connection:
        kept = outbox.get_receiver_state(connection, "hook", alert.id)
    assert kept == {"first": endpoint.ids[0]}


def test_saving_twice_changes_nothing(engine, clock):
    observation = window(0, ["age"])
    alert, changes = play(observation)
    for _ in range(2):
        with immediate(engine) as connection:
            save(connection, alert, changes, rows_of(alert, changes, ROUTES), clock.now_ms())
    assert len(rows(engine)) == 2
    with reading(engine) as connection:
        assert len(connection.execute(select(alert_event)).all()) == 1
        (row,) = connection.execute(select(alert_table)).all()
        assert load_open(connection, "churn", "1", Kind.DRIFT) == alert
        assert load_open(connection, "churn", "2", Kind.DRIFT) is None
    assert from_bytes(row.state_bytes) == alert
    assert (row.state, row.severity, row.opened_at_ms) == ("firing", "info", observation.end_ms)


def test_an_older_state_never_replaces_a_newer_one(engine, clock):
    old, changes = play(window(0, ["age"]))
    new, more = play(window(1, ["score"]), alert=old)
    with immediate(engine) as connection:
        save(connection, new, more, [], clock.now_ms())
        save(connection, old, changes, [], clock.now_ms())
        assert load(connection, old.id) == new
        assert load(connection, "nobody") is None


def test_a_revision_finds_the_alert_that_is_closed_by_now(engine, clock):
    first = judge(engine, clock, window(0, ["age"]))
    for index in (1, 2, 3):
        judge(engine, clock, window(index))
    second = judge(engine, clock, window(4, ["plan"]))
    assert judge(engine, clock, window(0, revision=2)).id == first.id
    with reading(engine) as connection:
        assert load(connection, first.id).state == "retracted"
        assert load_open(connection, "churn", "1", Kind.DRIFT).id == second.id


def test_what_a_person_does_is_told_too(engine, clock, endpoint):
    opened = judge(engine, clock, window(0, ["age"]))
    with immediate(engine) as connection:
        alert = load_to_change(connection, opened.id)
        assert alert is not None
        assert load_to_change(connection, "nobody") is None
        alert, changes = acknowledge(alert, "ann", instant(START_MS))
        save(connection, alert, changes, rows_of(alert, changes, HOOK_ONLY), clock.now_ms())
    drain(engine, clock, lambda: deliverer(engine, clock, endpoint))
    assert [notice.change.kind for notice in endpoint.arrived] == ["opened", "acknowledged"]


def test_a_later_change_waits_for_the_earlier_one(engine, clock, endpoint):
    def mood(notice):
        if notice.change.sequence == 1 and len(rows_tried) < 5:
            rows_tried.append(notice)
            raise RetryLater("away")  # noqa: EM101

    rows_tried = []
    endpoint.mood = mood
    alert = judge(engine, clock, window(0, ["age"]))
    judge(engine, clock, window(1, ["score"]))
    drain(engine, clock, lambda: deliverer(engine, clock, endpoint))
    assert endpoint.sequences(alert.id) == [1, 2]


def test_a_chat_is_told_only_the_latest_a_hook_everything(engine, clock, endpoint, chat):
    counted = []
    judge(engine, clock, window(0, ["age"]), ROUTES)
    judge(engine, clock, window(1, ["plan"]), ROUTES)
    judge(engine, clock, window(2, ["score"]), ROUTES)
    sender = deliverer(engine, clock, endpoint, chat, on_outcome=lambda *outcome: counted.append(outcome))
    while sender.deliver_due():
        pass
    assert [notice.change.sequence for notice in chat.arrived] == [3]
    assert [notice.change.sequence for notice in endpoint.arrived] == [1, 2, 3]
    assert sorted(counted) == [
        ("chat", "delivered"),
        *[("chat", "superseded")] * 2,
        *[("hook", "delivered")] * 3,
    ]


def test_a_wish_to_wait_holds_the_receiver_back(engine, clock, endpoint):
    def busy(_):
        raise RetryLater("busy", 90.0)  # noqa: EM101

    for number in range(5):
        judge(engine, clock, window(0, ["age"], model=f"m{number}"))
    sender = deliverer(engine, clock, endpoint)
    endpoint.mood = busy
    assert sender.deliver_due() == 1
    assert sender.deliver_due() == 0
    endpoint.mood = lambda _: None
    clock.sleep(89)
    assert sender.deliver_due() == 0
    clock.sleep(2)
    assert sender.deliver_due() == 5
    assert sorted(row.attempts for row in rows(engine)) == [1, 1, 1, 1, 2]


def test_a_disabled_receiver_gets_nothing_more_until_its_options_change(engine, clock, endpoint):
    def gone(_):
        raise ReceiverDisabled("the receiver answered 410")  # noqa: EM101

    for number in range(3):
        judge(engine, clock, window(0, ["age"], model=f"m{number}"))
    endpoint.mood = gone
    sender = deliverer(engine, clock, endpoint)
    assert sender.deliver_due() == 1
    sender.deliver_due()
    judge(engine, clock, window(0, ["age"], model="later"))
    assert deliverer(engine, clock, endpoint).deliver_due() == 0
    assert {(row.state, row.last_error) for row in rows(engine)} == {("dead", "the receiver answered 410")}
    endpoint.mood = lambda _: None
    judge(engine, clock, window(0, ["age"], model="after the change"))
    moved = Hook(endpoint, HookOptions(type="moved"))
    assert Deliverer(engine, {"hook": moved}, clock, random.Random(1)).deliver_due() == 1


def test_after_three_days_of_failures_a_message_is_given_up_with_the_reason(engine, clock, endpoint):
    def away(_):
        raise RetryLater("no answer: timed out")  # noqa: EM101

    judge(engine, clock, window(0, ["age"]))
    endpoint.mood = away
    counted = []
    sender = deliverer(engine, clock, endpoint, on_outcome=lambda *outcome: counted.append(outcome))
    began = clock.now_ms()
    while states(engine) == ["waiting"]:
        sender.deliver_due()
        clock.sleep(600)
    (row,) = rows(engine)
    assert (row.state, row.last_error) == ("dead", "no answer: timed out")
    assert PATIENCE_MS < row.finished_at_ms - began < PATIENCE_MS + 2 * 3_600_000
    assert counted[-1] == ("hook", "dead")
    assert {outcome for _, outcome in counted[:-1]} == {"retried"}


def test_a_deliverer_that_was_away_for_days_still_tries(engine, clock, endpoint):
    judge(engine, clock, window(0, ["age"]))
    clock.advance(5 * 86_400_000)
    deliverer(engine, clock, endpoint).deliver_due()
    assert states(engine) == ["delivered"]


def test_messages_to_a_receiver_that_is_not_configured_wait_and_then_die(engine, clock, endpoint):
    judge(engine, clock, window(0, ["age"]), [Route(match=Match(), to=("removed",))])
    sender = deliverer(engine, clock, endpoint)
    sender.deliver_due()
    assert states(engine) == ["waiting"]
    clock.advance(PATIENCE_MS + 1)
    sender.deliver_due()
    (row,) = rows(engine)
    assert (row.state, row.last_error) == ("dead", "the receiver is not configured any more")


def test_a_bug_in_a_notifier_is_logged_without_its_text_and_tried_again(engine, clock, endpoint, caplog):
    secret = "xoxb-1"

    def broken(_):
        raise ZeroDivisionError(secret)

    judge(engine, clock, window(0, ["age"]))
    endpoint.mood = broken
    deliverer(engine, clock, endpoint).deliver_due()
    (row,) = rows(engine)
    assert (row.state, row.last_error) == ("waiting", "unexpected ZeroDivisionError, see the log")
    assert "ZeroDivisionError" in caplog.text
    assert secret not in caplog.text


def test_what_cannot_be_kept_of_one_message_stops_no_other(engine, clock, endpoint, monkeypatch, caplog):
    sender = deliverer(engine, clock, endpoint)
    send = Hook.send

    def odd(self, notice, state):
        kept = send(self, notice, state)
        return {"key": object()} if notice.alert.model == "odd" else kept

    monkeypatch.setattr(Hook, "send", odd)
    judge(engine, clock, window(0, ["age"], model="odd"))
    clock.advance(1)
    judge(engine, clock, window(0, ["age"], model="plain"))
    assert sender.deliver_due() == 2
    assert sorted(states(engine)) == ["delivered", "waiting"]
    waiting = next(row for row in rows(engine) if row.state == "waiting")
    assert "unexpected TypeError" in waiting.last_error
    assert "TypeError" in caplog.text


def test_what_a_receiver_says_is_kept_as_far_as_databases_can(engine, clock, endpoint):
    def refuse(_):
        raise DeliveryError("refused with \0")  # noqa: EM101

    judge(engine, clock, window(0, ["age"]))
    endpoint.mood = refuse
    deliverer(engine, clock, endpoint).deliver_due()
    (row,) = rows(engine)
    assert (row.state, row.last_error) == ("dead", "refused with ")


def test_a_payload_that_cannot_be_read_dies(engine, clock, endpoint):
    judge(engine, clock, window(0, ["age"]))
    with immediate(engine) as connection:
        connection.execute(outbox_table.update().values(payload="{}"))
    deliverer(engine, clock, endpoint).deliver_due()
    (row,) = rows(engine)
    assert row.state == "dead"
    assert "not a notice" in row.last_error


def test_a_lease_keeps_others_away_until_it_runs_out(engine, clock, endpoint):
    judge(engine, clock, window(0, ["age"]))
    now_ms = clock.now_ms()

    def claim(at_ms):
        with immediate(engine) as connection:
            return outbox.claim(connection, "hook", at_ms, at_ms + LEASE_MS, f"token {at_ms}", 10)

    (mine,) = claim(now_ms)
    assert claim(now_ms + LEASE_MS - 1) == []
    (theirs,) = claim(now_ms + LEASE_MS)
    with immediate(engine) as connection:
        assert not outbox.mark_retry(connection, mine, now_ms, "too late")
        assert not outbox.mark_dead(connection, mine, now_ms, "too late")
        outbox.mark_delivered(connection, theirs, now_ms, None)
    assert states(engine) == ["delivered"]


def test_a_batch_is_given_back_when_the_lease_gets_short(engine, clock, endpoint):
    for number in range(5):
        judge(engine, clock, window(0, ["age"], model=f"m{number}"))
    endpoint.mood = lambda _: clock.sleep(40)
    assert deliverer(engine, clock, endpoint).deliver_due() == 2
    assert deliverer(engine, clock, endpoint).deliver_due() == 2


@contextmanager
def dying_after(monkeypatch, steps):
    """Die at a checkpoint: before, inside and after every write transaction and every effect."""
    count = itertools.count()

    def checkpoint(*_):
        if next(count) == steps:
            raise Killed

    @contextmanager
    def fragile(engine):
        checkpoint()
        with immediate(engine) as connection:
            yield connection
            checkpoint()
        checkpoint()

    with monkeypatch.context() as patch:
        patch.setattr(deliver, "immediate", fragile)
        yield checkpoint


@pytest.mark.parametrize("steps", range(18))
def test_death_at_any_point_loses_nothing(engine, clock, endpoint, chat, monkeypatch, steps):
    alert = judge(engine, clock, window(0, ["age"]), ROUTES)
    judge(engine, clock, window(1, ["score"]), ROUTES)
    with dying_after(monkeypatch, steps) as checkpoint, suppress(Killed):
        endpoint.mood = endpoint.after = chat.mood = chat.after = checkpoint
        drain(engine, clock, lambda: deliverer(engine, clock, endpoint, chat))
    endpoint.mood = endpoint.after = chat.mood = chat.after = lambda _: None
    clock.advance(LEASE_MS)
    drain(engine, clock, lambda: deliverer(engine, clock, endpoint, chat))
    assert endpoint.sequences(alert.id) == [1, 2]
    assert chat.sequences(alert.id)[-1] == 2
    assert set(states(engine)) <= {"delivered", "superseded"}
    assert len(endpoint.arrived) <= 3, "at most the message in flight is repeated"


def test_an_outcome_is_recorded_later_if_the_database_goes_away(engine, clock, endpoint, monkeypatch):
    judge(engine, clock, window(0, ["age"]))
    sender = deliverer(engine, clock, endpoint)

    @contextmanager
    def away(_):
        raise Unavailable("database away")  # noqa: EM101
        yield

    with monkeypatch.context() as patch:
        endpoint.after = lambda _: patch.setattr(deliver, "immediate", away)
        with pytest.raises(Unavailable):
            sender.deliver_due()
    assert states(engine) == ["waiting"]
    clock.advance(2 * LEASE_MS)
    assert sender.deliver_due() == 0
    assert states(engine) == ["delivered"]
    assert len(endpoint.arrived) == 1


def test_several_deliverers_at_once_send_each_message_once(engine, clock, endpoint):
    for number in range(60):
        judge(engine, clock, window(0, ["age"], model=f"m{number}"))
    workers = [deliverer(engine, clock, endpoint, seed=seed) for seed in range(3)]

    def work(sender):
        while sender.deliver_due(limit=5):
            pass

    threads = [threading.Thread(target=work, args=(sender,)) for sender in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(endpoint.ids) == len(set(endpoint.ids)) == 60
    assert set(states(engine)) == {"delivered"}


def test_chaos_loses_and_repeats_nothing(engine, clock, endpoint, chat):
    """300 incidents, receivers that fail 30 % of the time, deliverers that keep dying and are made anew."""
    rng = random.Random(20260101)

    def moody(_):
        luck = rng.random()
        if luck < 0.05:
            raise Killed
        if luck < 0.3:
            raise RetryLater("moody", rng.choice([None, None, 5.0]))  # noqa: EM101

    endpoint.mood = chat.mood = moody
    endpoint.after = chat.after = lambda notice: moody(notice) if rng.random() < 0.1 else None
    incidents = []
    for number in range(300):
        routes = ROUTES if number % 3 == 0 else HOOK_ONLY
        incidents.append(judge(engine, clock, window(0, ["age"], model=f"m{number}"), routes))
        if number % 4 == 0:
            judge(engine, clock, window(1, ["score"], model=f"m{number}"), routes)
    while "waiting" in states(engine):
        sender = deliverer(engine, clock, endpoint, chat, seed=rng.random())
        try:
            sender.deliver_due(limit=100)
        except Killed:
            clock.advance(LEASE_MS)
        clock.sleep(30)
    assert set(states(engine)) <= {"delivered", "superseded"}
    for number, alert in enumerate(incidents):
        wanted = [1, 2] if number % 4 == 0 else [1]
        assert endpoint.sequences(alert.id) == wanted
        if number % 3 == 0:
            assert chat.sequences(alert.id)[-1] == wanted[-1]


def test_the_loop_delivers_when_woken_and_survives_an_absent_database(engine, clock, endpoint, monkeypatch):
    stop, arrived, tries = threading.Event(), threading.Event(), itertools.count()
    sender = deliverer(engine, clock, endpoint)
    endpoint.after = lambda _: arrived.set()
    straight = sender.deliver_due

    def flaky(limit=20):
        if next(tries) == 0:
            raise Unavailable("database away")  # noqa: EM101
        return straight(limit)

    monkeypatch.setattr(sender, "deliver_due", flaky)
    judge(engine, clock, window(0, ["age"]))
    thread = threading.Thread(target=sender.run, args=(stop,))
    thread.start()
    sender.wake()
    assert arrived.wait(240)
    stop.set()
    sender.wake()
    thread.join(240)
    assert not thread.is_alive()
    assert states(engine) == ["delivered"]


def test_delays_grow_and_stay_within_an_hour():
    rng = random.Random(1)
    assert all(0.5 <= backoff_s(0, rng) <= 2.0 for _ in range(100))
    drawn = [backoff_s(40, rng) for _ in range(200)]
    assert max(drawn) <= 3_600.0
    assert max(drawn) > 3_000.0
