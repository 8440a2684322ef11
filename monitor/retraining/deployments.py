"""Deployments: somebody says that a version came, a registry does, or its events are seen."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from alerting.policy import Match
from alerting.silences import Silence, SilenceSource
from monitor.clock import Clock
from monitor.config import Configuration
from monitor.store import deployments, silences
from monitor.store.engine import immediate, reading

PORTION = 200
LONGEST_ID = 64  # of a silence


@dataclass(frozen=True)
class Deployment:
    """One version of a model that went into use.

    Parameters
    ----------
    at_ms : int
        Wall clock.
    source : str
        ``api``, ``mlflow`` or ``seen``.
    actor : str
        Who deployed it; empty if that is not known.
    id : str
        Given by the sender so that a repetition is recognised; by default made of what is deployed and when.
    """

    model: str
    version: str
    at_ms: int
    source: str
    actor: str = ""
    comment: str = ""
    id: str = ""

    @property
    def key(self) -> str:
        """Its identity."""
        if self.id:
            return self.id
        text = f"{len(self.model)}:{self.model}{len(self.version)}:{self.version}{self.at_ms}"
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def note(connection: Connection, configuration: Configuration, one: Deployment, now_ms: int) -> str:
    """Write a deployment, and silence the model for a while where the configuration says so.

    Returns
    -------
    str
        Its id; writing it again changes nothing.
    """
    if deployments.get(connection, one.key) is not None:
        return one.key
    values = {
        "id": one.key, "model": one.model, "version": one.version, "at_ms": one.at_ms, "source": one.source,
        "actor": one.actor, "comment": one.comment,
    }  # fmt: skip
    deployments.add(connection, values)
    quiet_ms = configuration.alerts.after_deployment_ms
    if quiet_ms is not None and one.at_ms + quiet_ms > now_ms:
        silence = Silence(
            _silence_id(one.key),
            Match(model=(_literally(one.model),)),
            one.at_ms,
            one.at_ms + quiet_ms,
            one.actor or "driftline",
            f"version {one.version} was deployed",
            SilenceSource.DEPLOYMENT,
        )
        silences.add(connection, silence, now_ms)
    return one.key


def _silence_id(key: str) -> str:
    """Name the silence after a deployment; a long id is not cut, since others may begin like it."""
    id_ = f"deployment-{key}"
    if len(id_) <= LONGEST_ID:
        return id_
    return f"deployment-{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


class NewVersions:
    """Notes versions whose events are seen although nobody said that they were deployed.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    clock : Clock
        Wall clock.
    """

    def __init__(self, configuration: Configuration, engine: Engine, clock: Clock) -> None:
        self._configuration, self._engine, self._clock = configuration, engine, clock

    def sweep(self) -> list[Deployment]:
        """Note what is new.

        Raises
        ------
        Unavailable
            If the database is away.
        """
        with reading(self._engine) as connection:
            rows = deployments.unnoted(connection, PORTION)
        found = [Deployment(row.model, row.version, int(row.created_at_ms), "seen") for row in rows]
        for one in found:
            with immediate(self._engine) as connection:
                note(connection, self._configuration, one, self._clock.now_ms())
        return found


def _literally(name: str) -> str:
    """A name whose ``*`` and ``?`` stand for themselves."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
