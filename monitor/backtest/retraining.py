"""Which training incidents would have started: the guards of the service, and a ledger in memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from alerting.alert import Alert, State
from alerting.finding import epoch_ms, instant
from alerting.pipeline import FINISHED, Passage, Surroundings
from alerting.retraining.guards import Case, Earlier, Standing, horizon_ms, rule
from alerting.retraining.options import TargetOptions
from alerting.retraining.request import RetrainingRequest
from detectors.outcomes import EVERYTHING, Family, Records
from monitor.backtest.report import Retraining
from monitor.config import Configuration
from monitor.profiling import Key
from monitor.retraining.proposals import NOT_STARTED, RETRACTED, request_id, request_of

STARTED = (Standing.DUE, Standing.SUCCEEDED)
"""In the service's words: it is to be started; it has ended, as every run of a backtest has at once."""


@dataclass(frozen=True)
class _Counted:
    start_ms: int
    known_ms: int
    labels: int


class LabelCounts:
    """How many labels the windows of each model version had when their outcomes were judged."""

    def __init__(self) -> None:
        self._windows: dict[Key, list[_Counted]] = {}

    def note(self, key: Key, start_ms: int, known_ms: int, records: Records) -> None:
        """Take in a window whose outcomes were judged at an instant."""
        labelled = (records["family"] == Family.LABELLED) | (records["family"] == Family.RESIDUAL)
        number = int(records["n"][labelled & (records["segment"] == EVERYTHING)].sum())
        counted = _Counted(start_ms, known_ms, number)
        self._windows.setdefault(key, []).append(counted)

    def between(self, request: RetrainingRequest, now_ms: int) -> int:
        """Labels that were known for predictions of the range to train on."""
        from_ms, to_ms = epoch_ms(request.data_from), epoch_ms(request.data_to)
        windows = self._windows.get((request.model, request.version), ())
        return sum(
            one.labels for one in windows if from_ms <= one.start_ms < to_ms and one.known_ms <= now_ms
        )


class Requests:
    """Requests to train, made as `monitor.retraining.proposals` does: one an incident, target and model.

    Parameters
    ----------
    configuration : Configuration
        Its targets are named, not called.
    labels : LabelCounts

    Notes
    -----
    A run that would have been started counts as ended at once, so only the cooldown and the number of runs a
    week hold the next one back. Nobody approves what waits for a person; it goes on waiting.
    """

    def __init__(self, configuration: Configuration, labels: LabelCounts) -> None:
        self._configuration, self._labels = configuration, labels
        self._ledger: dict[str, Retraining] = {}

    @property
    def found(self) -> tuple[Retraining, ...]:
        """All requests, the oldest first."""
        return in_order(self._ledger.values())

    def consider(self, passage: Passage, around: Surroundings) -> None:
        """Ask every target that routes name for a run for each model of an incident."""
        if passage.incident.state in FINISHED:
            self._withdraw(passage)
            return
        for receiver in passage.targets:
            options = self._configuration.receivers[receiver]
            if isinstance(options, TargetOptions):
                for model in passage.incident.models:
                    self._consider_one(passage, around, receiver, options, model)

    def _consider_one(
        self, passage: Passage, around: Surroundings, receiver: str, options: TargetOptions, model: str
    ) -> None:
        alerts = [alert for alert in passage.alerts if alert.model == model and alert.is_open]
        if not alerts:
            return
        id_, now_ms = request_id(passage.incident.id, receiver, model), around.now_ms
        request = request_of(id_, passage.incident.id, alerts, around.console_url, now_ms)
        known = self._ledger.get(id_)
        if known is not None and known.standing != Standing.REFUSED:
            if known.standing == Standing.PROPOSED:  # it would be started with what is known by then
                self._ledger[id_] = _with_range(known, request)
            return
        ruling = rule(options, self._case(alerts, request, receiver, options, now_ms))
        self._ledger[id_] = Retraining(
            at=instant(now_ms),
            receiver=receiver,
            model=model,
            version=request.version,
            incident_id=request.incident_id,
            standing=said(ruling.standing),
            reason=ruling.reason,
            data_from=request.data_from,
            data_to=request.data_to,
        )

    def _case(
        self,
        alerts: Iterable[Alert],
        request: RetrainingRequest,
        receiver: str,
        options: TargetOptions,
        now_ms: int,
    ) -> Case:
        return Case(
            lanes=tuple(dict.fromkeys(finding.lane for alert in alerts for finding in alert.findings)),
            labels=self._labels.between(request, now_ms),
            earlier=self._earlier(request, receiver, now_ms - horizon_ms(options)),
            now_ms=now_ms,
        )

    def _earlier(self, request: RetrainingRequest, receiver: str, since_ms: int) -> tuple[Earlier, ...]:
        """Requests of the model to the target since an instant, and those that wait for a person."""
        found = (
            (Standing(one.standing), epoch_ms(one.at))
            for id_, one in self._ledger.items()
            if id_ != request.id and (one.receiver, one.model) == (receiver, request.model)
        )
        return tuple(
            Earlier(Standing.SUCCEEDED if standing is Standing.STARTED else standing, at_ms)
            for standing, at_ms in found
            if at_ms > since_ms or standing is Standing.PROPOSED
        )

    def _withdraw(self, passage: Passage) -> None:
        """Take back what was not started, where the incident was taken back."""
        if passage.incident.state is not State.RETRACTED:
            return
        for id_, one in self._ledger.items():
            if one.incident_id == passage.incident.id and one.standing in NOT_STARTED:
                self._ledger[id_] = replace(one, standing=str(Standing.REJECTED), reason=RETRACTED)


def said(standing: Standing) -> str:
    """How a backtest names what the service would have done: there is no run that could go on.

    Examples
    --------
    >>> said(Standing.DUE), said(Standing.REFUSED)
    ('started', 'refused')
    """
    return str(Standing.STARTED if standing in STARTED else standing)


def in_order(requests: Iterable[Retraining]) -> tuple[Retraining, ...]:
    """Requests in order of time."""
    return tuple(sorted(requests, key=lambda one: (one.at, one.incident_id, one.receiver, one.model)))


def _with_range(known: Retraining, request: RetrainingRequest) -> Retraining:
    return replace(known, version=request.version, data_from=request.data_from, data_to=request.data_to)
