"""What the forms on the pages of incidents do: every decision that the API knows, with who and why."""

from __future__ import annotations

from collections.abc import Mapping

from alerting.retraining.guards import Standing
from monitor.incidents.actions import Actions
from monitor.retraining.decisions import Decisions, NoRequest
from monitor.store import retraining
from monitor.store.engine import reading
from monitor.web.console.done import Done
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


class Deeds:
    """Carries out what a form asks for.

    Parameters
    ----------
    context : Context
    """

    def __init__(self, context: Context) -> None:
        parts = (context.configuration, context.engine, context.clock, context.telemetry)
        self._actions, self._decisions = Actions(*parts), Decisions(*parts)
        self._engine = context.engine

    def do(self, id_: str, actor: str, posted: Mapping[str, str]) -> Done:
        """Do what the button of a form says.

        Parameters
        ----------
        id_ : str
            Of the incident.
        actor : str
            Who it is.
        posted : mapping of str to str
            `do`, and what belongs to it: `reason`, `for`, `text`, `receiver` and `model`, `run`.

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
                self._actions.acknowledge(id_, actor, reason)
                return "acknowledged"
            case "resolve":
                self._actions.resolve(id_, actor, reason)
                return "resolved"
            case "silence":
                self._actions.silence(id_, actor, span_of(posted), reason)
                return "silenced"
            case "comment":
                self._actions.comment(id_, actor, text_of(posted, "text", MOST_COMMENT))
                return "commented"
            case "train":
                return self._train(id_, actor, posted, reason)
            case "approve" | "reject" | "retry" as verb:
                return self._decide(id_, verb, actor, posted, reason)
        msg = "the form does not say what is to be done"
        raise UsageError(msg)

    def _train(self, id_: str, actor: str, posted: Mapping[str, str], reason: str) -> Done:
        receiver, model = text_of(posted, "receiver", 256), text_of(posted, "model", 256)
        ruling = self._decisions.ask(id_, receiver, model, actor, reason)
        if ruling.standing is Standing.REFUSED:
            msg = f"no run was asked for: {ruling.reason}"
            raise UsageError(msg)
        return "asked"

    def _decide(self, id_: str, verb: str, actor: str, posted: Mapping[str, str], reason: str) -> Done:
        run_id = text_of(posted, "run", 64)
        with reading(self._engine) as connection:
            row = retraining.get(connection, run_id)
        if row is None or row.incident_id != id_:
            msg = f"this incident has no request for training {run_id[:80]!r}"
            raise NoRequest(msg)
        if verb == "approve":
            self._decisions.approve(run_id, actor, reason)
            return "approved"
        if verb == "reject":
            self._decisions.reject(run_id, actor, reason)
            return "rejected"
        self._decisions.retry(run_id, actor, reason)
        return "retried"


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
