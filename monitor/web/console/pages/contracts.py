"""Contracts of models: as applied, what changed from revision to revision, and the difference of any two."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from sqlalchemy import Connection

from monitor.contracts.configured import of_settings
from monitor.contracts.contract import Contract
from monitor.contracts.difference import Change, changes, is_compatible
from monitor.contracts.revisions import contract_of, revisions
from monitor.contracts.yaml_text import block
from monitor.store.engine import reading
from monitor.store.queries.contracts import agreed_models, is_watched
from monitor.web.console.contracts.agreed import agreed_rules
from monitor.web.console.fields import Blank
from monitor.web.console.shell import Shell
from monitor.web.parameters import Asked, NoParameters, PathText
from monitor.web.problems import Mistake, Refused, not_found

HERE = "/configuration"
LISTED = 50
LISTED_MODELS = 500
MOST_REVISIONS = 1_000
NOW = 0  # stands for what is applied, which no window may have been judged by yet

Number = Annotated[int | None, Blank]


class ContractAsked(Asked):
    """Parameters of the page of a contract."""

    old: Number = Field(None, ge=0, le=MOST_REVISIONS, description="Revision to compare; 0: as applied.")
    new: Number = Field(None, ge=0, le=MOST_REVISIONS, description="Revision to compare it with.")


def routes(shell: Shell) -> APIRouter:
    """Build the routes."""
    router, context = APIRouter(), shell.context
    configuration = context.configuration

    @router.get("/configuration/contracts")
    def contracts(request: Request, _asked: Annotated[NoParameters, Query()]) -> Response:
        with reading(context.engine) as connection:
            judged = agreed_models(connection)
        names = sorted({*configuration.models, *judged})
        listed = [(name, judged.get(name), configuration.for_model(name)) for name in names[:LISTED_MODELS]]
        return shell.page(request, "contracts.html", HERE, listed=listed, total=len(names))

    @router.get("/configuration/contracts/{model:path}")
    def contract(request: Request, model: PathText, asked: Annotated[ContractAsked, Query()]) -> Response:
        settings = configuration.for_model(model)
        applied = of_settings(settings, model)
        with reading(context.engine) as connection:
            found = revisions(connection, model, None, MOST_REVISIONS)
            if not found and model not in configuration.models and not is_watched(connection, model):
                raise not_found(model, "model", "path.model", configuration.models)
            compared = _compared(connection, model, applied, asked)
        return shell.page(
            request,
            "contract.html",
            HERE,
            model=model,
            rules=agreed_rules(settings),
            personal=sorted(name for name, column in settings.columns.items() if column.personal),
            text="\n".join(block(applied.as_settings())),
            revisions=found[:LISTED],
            numbers=[one.revision for one in found],
            is_judged=bool(found) and found[0].fingerprint == applied.fingerprint,
            compared=compared,
            is_compatible=compared is None or is_compatible(compared),
            asked=asked,
        )

    return router


def _compared(
    connection: Connection, model: str, applied: Contract, asked: ContractAsked
) -> list[Change] | None:
    """List what changed between the revisions that are asked for; None if none are."""
    if asked.old is None or asked.new is None:
        return None
    sides = []
    for where, number in (("old", asked.old), ("new", asked.new)):
        if number == NOW:
            sides.append(applied)
            continue
        found = revisions(connection, model, number + 1, 1)
        if not found or found[0].revision != number:
            what = f"there is no revision {number} of this contract"
            raise Refused(404, what, [Mistake(where=f"query.{where}", what=what)])
        sides.append(contract_of(found[0]))
    return changes(*sides)
