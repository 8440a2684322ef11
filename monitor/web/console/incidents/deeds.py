"""What the forms on the pages of incidents do: every decision that the API knows, with who and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from alerting.retraining.guards import Standing
from monitor.incidents.actions import AGAIN_MS, Actions, NoIncident
from monitor.retraining.decisions import Decisions, NoRequest
from monitor.retraining.proposals import request_id
from monitor.store import retraining
from monitor.store.engine import reading
from monitor.web.console.done import Done
from monitor.web.console.incidents.offered import take
from monitor.web.context import Context
from schemas.errors import UsageError

SPANS = {
    "15m": 15 * 60_000,
    "1h": 3_600_000,
    "8h": 8 * 3_600_000,
    "1d": 86_400_000,
    "7d": 7 * 86_400_000,
}
MOST_REASON, MOST_COMMENT = 1_000, 2_000
BECAME = {
    "approve": frozenset({Standing.DUE, Standing.STARTED}),
    "reject": frozenset({Standing.REJECTED}),
    "retry": frozenset({Standing.DUE, Standing.STARTED}),
}


class Deeds:
    """Carries out what a form asks for.

    Parameters
    ----------
    context : Context
    """

    def __init__(self, context: Context) -> None:
        parts = (context.configuration, context.engine, context.clock, context.telemetry)
        self._actions, self._decisions = Actions(*parts), Decisions(*parts)
        self._context, self._engine = context, context.engine

    def do(self, id_: str, actor: str, posted: Mapping[str, str]) -> Done:
        """Do what the button of a form says.

        Parameters
        ----------
        id_ : str
            Of the incident.
        actor : str
            Who it is.
        posted : mapping of str to str
            `do`, and what belongs to it: `reason`, `for`, `text`, `receiver` and `model`, `run`, `hash`.

        Returns
        -------
        Done
            What was done.

        Raises
        ------
        UsageError
            In words for the page, if it cannot be done; nothing has changed then.
        """
        reason = text_of(posted, "reason", MOST_REASON)
        match posted.get("do", ""):
            case "acknowledge":
                was = self._actions.acknowledge(id_, actor, reason)
                return "acknowledged" if was == "acknowledged" else "acknowledged-already"
            case "resolve":
                self._actions.resolve(id_, actor, reason)
                return "resolved"
            case "silence":
                self._actions.silence(id_, actor, span_of(posted), reason, is_form=True)
                return "silenced"
            case "comment":
                self._actions.comment(id_, actor, text_of(posted, "text", MOST_COMMENT))
                return "commented"
            case "train":
                return self._train(id_, actor, posted, reason)
            case "approve" | "reject" | "retry" as verb:
                return self._decide(id_, verb, actor, posted, reason)
            case "reference":
                run_id, hash_ = text_of(posted, "run", 64), text_of(posted, "hash", 64)
                take(self._context, id_, run_id, hash_, actor, reason)
                return "reference"
        msg = "the form does not say what is to be done"
        raise UsageError(msg)

    def _train(self, id_: str, actor: str, posted: Mapping[str, str], reason: str) -> Done:
        receiver, model = text_of(posted, "receiver", 256), text_of(posted, "model", 256)
        try:
            ruling = self._decisions.ask(id_, receiver, model, actor, reason)
        except NoIncident:
            raise
        except UsageError:
            row = self._run(request_id(id_, receiver, model))
            if row is None or row.trigger != "person" or not self._is_own(row, actor):
                raise
            return "asked"  # the button was pressed twice
        if ruling.standing is Standing.REFUSED:
            msg = f"no run was asked for: {ruling.reason}"
            raise UsageError(msg)
        return "asked"

    def _decide(self, id_: str, verb: str, actor: str, posted: Mapping[str, str], reason: str) -> Done:
        run_id = text_of(posted, "run", 64)
        row = self._run(run_id)
        if row is None or row.incident_id != id_:
            msg = f"this incident has no request for training {run_id[:80]!r}"
            raise NoRequest(msg)
        acts: dict[str, tuple[Callable[[str, str, str], str], Done]] = {
            "approve": (self._decisions.approve, "approved"),
            "reject": (self._decisions.reject, "rejected"),
            "retry": (self._decisions.retry, "retried"),
        }
        act, done = acts[verb]
        try:
            act(run_id, actor, reason)
        except UsageError:
            row = self._run(run_id)
            if row is None or row.state not in BECAME[verb] or not self._is_own(row, actor):
                raise
        return done

    def _run(self, run_id: str) -> Any | None:
        with reading(self._engine) as connection:
            return retraining.get(connection, run_id)

    def _is_own(self, row: Any, actor: str) -> bool:
        """Whether the same person has just decided about a run, so that a button was pressed twice."""
        return bool(row.actor == actor and row.updated_at_ms >= self._context.clock.now_ms() - AGAIN_MS)


def span_of(posted: Mapping[str, str]) -> int:
    """Read how long a silence is to last, in milliseconds.

    Raises
    ------
    UsageError
        If it is none of those that can be chosen.
    """
    wanted = posted.get("for", "1h")
    if wanted not in SPANS:
        msg = f"{wanted[:20]!r} is not one of the lengths of a silence (use {', '.join(SPANS)})"
        raise UsageError(msg)
    return SPANS[wanted]


def text_of(posted: Mapping[str, str], name: str, most: int) -> str:
    r"""Read a text of a form; lines end as they do elsewhere.

    Raises
    ------
    UsageError
        If it is too long, or holds what no text has.

    Examples
    --------
    >>> text_of({"reason": " a\r\nb "}, "reason", 10)
    'a\nb'
    """
    text = posted.get(name, "").replace("\r\n", "\n").strip()
    if len(text) > most:
        msg = f"the {name} has {len(text):,} characters (use at most {most:,})"
        raise UsageError(msg)
    if "\0" in text:
        msg = f"the {name} holds a NUL character, which no text has"
        raise UsageError(msg)
    return text
