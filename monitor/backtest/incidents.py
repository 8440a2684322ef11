"""Alerts of all model versions, the incidents that they are, and what people would have been told when."""

from __future__ import annotations

from alerting.alert import Alert, Change, step
from alerting.finding import Kind, WindowObservation, epoch_ms, instant
from alerting.incidents.incident import Incident, belongs
from alerting.pipeline import Passage, Surroundings, next_look_ms
from alerting.record import Record
from alerting.telling import tell_change, tell_due
from monitor.backtest.looks import later_look_ms
from monitor.backtest.report import Delivery, Retraining
from monitor.backtest.retraining import LabelCounts, Requests
from monitor.config import Configuration
from monitor.store.incidents import MOST_TOGETHER


class Incidents:
    """Lets windows speak to the alerts of their model versions, and those to people, in order of event time.

    Parameters
    ----------
    configuration : Configuration
        Its policy, routes and everything that holds messages back; what depends on the clock goes by event
        time, and nobody acknowledges anything.

    Attributes
    ----------
    labels : LabelCounts
        What is known of labels when somebody asks for training.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._policy = configuration.alerts.policy
        self.labels = LabelCounts()
        self._requests = Requests(configuration, self.labels)
        self._observations: list[tuple[int, WindowObservation]] = []
        self._current: dict[tuple[str, str, Kind], Alert] = {}
        self._alerts: dict[str, Alert] = {}
        self._incident_of: dict[str, str] = {}
        self._ids: dict[str, list[str]] = {}
        self._records: dict[str, Record] = {}
        self._looks: dict[str, int] = {}
        self._shown: dict[str, Incident] = {}
        self._deliveries: list[Delivery] = []

    def take(self, observation: WindowObservation, waited_ms: int = 0) -> None:
        """Let a window speak to the alert of its model version and kind.

        Parameters
        ----------
        observation : WindowObservation
            Windows may come in any order.
        waited_ms : int
            How long after its end it was judged.
        """
        self._observations.append((observation.end_ms + waited_ms, observation))

    def play(self) -> None:
        """Go through all windows in the order in which they were judged."""
        for now_ms, observation in sorted(self._observations, key=lambda one: one[0]):
            self._pass_time(now_ms)
            self._observe(observation, now_ms)
        self._observations = []

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """All alerts as they are now, the oldest first."""
        return tuple(sorted(self._alerts.values(), key=lambda alert: (alert.opened_at, alert.id)))

    @property
    def incidents(self) -> tuple[Incident, ...]:
        """All incidents as they are now, the oldest first."""
        return tuple(sorted(self._shown.values(), key=lambda one: (one.whole.opened_at, one.id)))

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """All messages in order of time."""
        return tuple(sorted(self._deliveries, key=lambda one: (one.at, one.alert_id, one.sequence)))

    @property
    def retraining(self) -> tuple[Retraining, ...]:
        """All requests to train in order of time."""
        return self._requests.found

    def _observe(self, observation: WindowObservation, now_ms: int) -> None:
        key = observation.model, observation.version, observation.kind
        after, changes = step(self._current.get(key), observation, self._policy)
        if after is None:
            return
        self._current[key] = after
        for change in changes:
            self._change(after, change, now_ms)
        self._alerts[after.id] = after

    def _change(self, alert: Alert, change: Change, now_ms: int) -> None:
        if alert.id not in self._incident_of:
            joined = self._joined(alert) or alert.id
            self._incident_of[alert.id] = joined
            self._ids[joined] = sorted([*self._ids.get(joined, []), alert.id])
        id_ = self._incident_of[alert.id]
        before = self._members(id_)
        self._alerts[alert.id] = alert
        after, record = self._members(id_), self._records.get(id_, Record(id_))
        around = self._around(after, now_ms)
        passage = tell_change(record, before, after, change, around)
        self._note(passage, around)
        self._look_again(id_, next_look_ms(passage, around), now_ms)

    def _pass_time(self, now_ms: int) -> None:
        """Do what time alone brings until now, in its order."""
        while due := [(at_ms, id_) for id_, at_ms in self._looks.items() if at_ms <= now_ms]:
            at_ms, id_ = min(due)
            alerts = self._members(id_)
            around = self._around(alerts, at_ms)
            look = tell_due(self._records[id_], alerts, around)
            self._records[id_] = look.record
            again_ms = look.again_at_ms
            if look.passage is not None:
                self._note(look.passage, around)
            elif again_ms is not None:
                again_ms = later_look_ms(look.record, again_ms, now_ms)
            self._look_again(id_, again_ms, at_ms)

    def _look_again(self, id_: str, look_ms: int | None, now_ms: int) -> None:
        if look_ms is None:
            self._looks.pop(id_, None)
        else:
            self._looks[id_] = max(look_ms, now_ms + 1)

    def _note(self, passage: Passage, around: Surroundings) -> None:
        id_, change = passage.incident.id, passage.change
        self._requests.consider(passage, around)
        self._records[id_], self._shown[id_] = passage.record, passage.incident
        for one in passage.to:
            self._deliveries.append(
                Delivery(
                    max(change.at, instant(one.not_before_ms)),
                    one.receiver,
                    id_,
                    change.sequence,
                    str(change.kind),
                    change.cause,
                )
            )

    def _joined(self, alert: Alert) -> str | None:
        """Find the incident that an alert joins: its own model's before others', the earliest first."""
        grouping = self._configuration.alerts.grouping
        fitting = [
            (not self._is_of(id_, alert.model), self._start_ms(id_), id_)
            for id_ in self._records
            if id_ != alert.id
            and (self._is_of(id_, alert.model) or len(self._ids[id_]) < MOST_TOGETHER)
            and belongs(alert, self._members(id_), grouping)
        ]
        return min(fitting)[-1] if fitting else None

    def _is_of(self, id_: str, model: str) -> bool:
        return any(one.model == model for one in self._members(id_))

    def _start_ms(self, id_: str) -> int:
        return min(min(_starts_ms(one)) for one in self._members(id_))

    def _members(self, id_: str) -> tuple[Alert, ...]:
        return tuple(self._alerts[one] for one in self._ids.get(id_, ()) if one in self._alerts)

    def _around(self, alerts: tuple[Alert, ...], now_ms: int) -> Surroundings:
        configuration, models = self._configuration, {alert.model for alert in alerts}
        policy = configuration.alerts
        open_alerts = [one for one in self._current.values() if one.is_open and one.model in models]
        return Surroundings(
            now_ms,
            policy.routes,
            policy.grouping.model_copy(update={"wait_ms": 0}),
            policy.inhibit,
            policy.maintenance_at(now_ms),
            open_alerts,
            {model: configuration.for_model(model).owner or "" for model in models},
            configuration.targets,
        )


def _starts_ms(alert: Alert) -> set[int]:
    """Where the change was located, and the first window."""
    return {epoch_ms(alert.window_start), epoch_ms(alert.onset_at or alert.window_start)}
