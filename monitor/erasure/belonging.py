"""Which rows of which table belong to a model; and of the tables that are left alone, why they are.

Every table is here, in `parts` or in `KEPT`: a test asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, and_, exists, func, literal, or_, select, union_all

from monitor.labels.packing import LABEL
from monitor.labels.pending import id_of
from monitor.store.tables import (
    alert,
    alert_event,
    contract_revision,
    deployment,
    estimate_state,
    half_message,
    incident,
    incident_alert,
    incident_column,
    incident_event,
    join_share,
    joined_version,
    judgement,
    ledger,
    ledger_head,
    model_column,
    model_version,
    outbox,
    outcome_ledger,
    outcome_ledger_head,
    outcome_reference,
    outcome_slice,
    outcome_window,
    partition_model,
    pending,
    performance_value,
    receiver_state,
    reference,
    reference_pointer,
    result,
    retraining_run,
    slice_profile,
    truth,
    version_comparison,
    weekly_evidence,
    window_state,
)

KEPT = {
    "api_token": "tokens are for all models",
    "audit": "who did what is kept, also that a model was erased",
    "counter": "of the whole database",
    "dedupe": "hashes of ids, by partition; they go after the span of dedupe",
    "digest": "which weeks are done; what the digests say goes with weekly_evidence and outbox",
    "gap": "what was lost is of partitions",
    "label_account": "what became of label events is counted by partition",
    "outcome_commit": "offsets that were read; those that no outcomes name go with the next db clean",
    "partition_state": "positions and counts of partitions: the identity of the accounting holds",
    "session": "who is signed in",
    "silence": "may name several models; one that is over goes with keep.incidents",
    "term": "names of classes and segments, shared by all models",
}
"""Tables of which nothing is removed, and why."""

READ = {
    "dead_letter": "whose message says which model its events are of",
}
"""Tables whose rows have to be read to know whose they are."""

Where = Sequence[ColumnElement[bool]]


@dataclass(frozen=True)
class Target:
    """A model, or one version of it."""

    model: str
    version: str | None = None

    def __str__(self) -> str:
        return self.model if self.version is None else f"{self.model}/{self.version}"

    def of(self, table: Table) -> list[ColumnElement[bool]]:
        """Condition for rows of a table with the columns `model` and `version`."""
        found = [table.c.model == self.model]
        if self.version is not None:
            found.append(table.c.version == self.version)
        return found


@dataclass(frozen=True)
class Part:
    """Rows of one table that belong to the target.

    Parameters
    ----------
    table : Table
    where : sequence of ColumnElement
    is_walked : bool
        No index leads to the rows: the table is gone through in the order of its primary key.
    """

    table: Table
    where: Where
    is_walked: bool = False

    @property
    def number(self) -> Select[Any]:
        """Query for the number of rows."""
        return select(func.count()).select_from(self.table).where(*self.where)


_BY_VERSION = (
    window_state, outcome_window, result, judgement, slice_profile, outcome_slice, performance_value, ledger,
    ledger_head, outcome_ledger, outcome_ledger_head, weekly_evidence, estimate_state, outcome_reference,
    deployment,
)  # fmt: skip
_BY_MODEL = (partition_model, join_share, contract_revision)


def parts(target: Target) -> list[Part]:
    """All rows of a model or a version, what depends on others first.

    Removed in this order and all or in part, what is left is found again by the next call.
    """
    return [
        *(Part(table, target.of(table)) for table in _BY_VERSION),
        Part(version_comparison, _compared(target)),
        *(Part(table, [table.c.model == target.model]) for table in _BY_MODEL if target.version is None),
        *_of_labels(target),
        Part(half_message, [_names_model(target)]),
        *_of_alerts(target),
        *_of_references(target),
        Part(model_column, target.of(model_column)),
        Part(model_version, target.of(model_version)),
    ]


def _compared(target: Target) -> Where:
    c = version_comparison.c
    if target.version is None:
        return [c.model == target.model]
    return [c.model == target.model, or_(c.champion == target.version, c.challenger == target.version)]


def _of_labels(target: Target) -> list[Part]:
    """Predictions and labels that wait for each other. Labels are of a model, whichever version it is."""
    ids = select(joined_version.c.id).where(*target.of(joined_version))
    found = [Part(pending, [pending.c.version_id.in_(ids)], is_walked=True)]
    if target.version is None:
        first, size = _place_of_model()
        owner = func.substr(truth.c.payload, first + 1, size, type_=truth.c.payload.type)
        mine = id_of(target.model).to_bytes(8, "little", signed=True)
        found.append(Part(truth, [owner == literal(mine, truth.c.payload.type)], is_walked=True))
    return [*found, Part(joined_version, target.of(joined_version))]


def _place_of_model() -> tuple[int, int]:
    """Where the id of the model is in the payload of a label, and how long it is."""
    fields = LABEL.fields
    if fields is None:
        msg = "labels are stored without fields"
        raise TypeError(msg)
    kind, first = fields["model"][:2]
    return first, kind.itemsize


def _names_model(target: Target) -> ColumnElement[bool]:
    """Halves that say which model they are of; most formats let only the pair say it."""
    start = half_message.c.format.concat(f":{target.model}:")
    is_of_version = literal(target.version is None)
    return and_(is_of_version, func.substr(half_message.c.name, 1, func.length(start)) == start)


# --- alerts -------------------------------------------------------------------------------------------------


def alerts_of(target: Target) -> Select[Any]:
    """Ids of the alerts of a model or version."""
    return select(alert.c.id).where(*target.of(alert))


def own_incidents(target: Target) -> Select[Any]:
    """Ids of incidents that are about nothing else."""
    i, member, mine = incident.c, incident_alert.c, alerts_of(target)
    has_mine = or_(
        exists().where(member.incident_id == i.id, member.alert_id.in_(mine)), and_(*target.of(incident))
    )
    has_others = exists().where(member.incident_id == i.id, member.alert_id.not_in(mine))
    return select(i.id).where(has_mine, ~has_others)


def shared_incidents(target: Target) -> Select[Any]:
    """Ids of incidents that have alerts of the target and others."""
    i, member, mine = incident.c, incident_alert.c, alerts_of(target)
    return select(i.id).where(
        exists().where(member.incident_id == i.id, member.alert_id.in_(mine)),
        exists().where(member.incident_id == i.id, member.alert_id.not_in(mine)),
    )


def _of_alerts(target: Target) -> list[Part]:
    own, mine = own_incidents(target), alerts_of(target)
    # An incident has the id of the alert that opened it, also where only alerts of others are left in it.
    alone = alert.c.id.not_in(select(incident.c.id))
    told = union_all(own, alerts_of(target).where(alone))
    runs = or_(and_(*target.of(retraining_run)), retraining_run.c.incident_id.in_(own))
    events = or_(incident_event.c.incident_id.in_(own), incident_event.c.alert_id.in_(mine))
    return [
        Part(outbox, [outbox.c.alert_id.in_(told)]),
        Part(receiver_state, [receiver_state.c.alert_id.in_(told)]),
        Part(retraining_run, [runs]),
        Part(incident_event, [events]),
        Part(incident_column, [incident_column.c.incident_id.in_(own)]),
        Part(incident, [incident.c.id.in_(own)]),
        Part(alert_event, [alert_event.c.alert_id.in_(mine)]),
        Part(incident_alert, [incident_alert.c.alert_id.in_(mine)]),
        Part(alert, target.of(alert)),
    ]


# --- references ---------------------------------------------------------------------------------------------


def _of_references(target: Target) -> list[Part]:
    """References that no other model version points to."""
    pointer = reference_pointer.c
    is_mine = and_(*target.of(reference_pointer))
    mine = select(pointer.hash).where(is_mine)
    others = exists().where(pointer.hash == reference.c.hash, ~is_mine)
    return [
        Part(reference, [or_(reference.c.hash.in_(mine), _made_for(target)), ~others]),
        Part(reference_pointer, target.of(reference_pointer)),
    ]


def _made_for(target: Target) -> ColumnElement[bool]:
    """References that were made for the target and never promoted; their metadata name it."""
    found = [_says("model", target.model)]
    if target.version is not None:
        found.append(_says("version", target.version))
    return and_(*found)


def _says(name: str, value: str) -> ColumnElement[bool]:
    """Whether the metadata hold a value, as JSON writes it; unlike LIKE, it minds capital letters."""
    text = reference.c.metadata
    return func.replace(text, json.dumps({name: value})[1:-1], "") != text
