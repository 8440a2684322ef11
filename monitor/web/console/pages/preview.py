"""Previewing a change of the policy: what it would have told and trained over what is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import Field, ValidationError

from monitor.backtest.stored_content import Wanted
from monitor.config import Configuration
from monitor.store.engine import reading
from monitor.store.queries.budget import newest_end_ms
from monitor.web.console.fields import Blank, FieldInstant, FieldText
from monitor.web.console.forms import Posted
from monitor.web.console.preview.changed_policy import PolicyChange, changed, differences
from monitor.web.console.preview.previews import Preview, Previews
from monitor.web.console.preview.words import sides
from monitor.web.console.shell import Shell, query
from monitor.web.documents import instant
from monitor.web.parameters import Asked, NoParameters, PathText
from monitor.web.problems import Mistake, Refused, not_found
from monitor.web.sign_in.acting import note
from schemas.errors import UsageError

HERE = "/configuration"
USUAL_MS = 30 * 86_400_000
FIELDS = ("tolerance_psi", "budget", "min_windows", "clean_windows", "model", "from", "to")

Tolerance = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
Windows = Annotated[int, Field(ge=1, le=1_000)]


class PreviewAsked(Asked):
    """Fields of the form: what is left empty stays as it is."""

    tolerance_psi: Annotated[Tolerance | None, Blank] = Field(None, description="Tolerated PSI of columns.")
    budget: FieldText = Field(None, description="False alarms: `1 per week`.")
    min_windows: Annotated[Windows | None, Blank] = Field(None, description="Windows until an alert fires.")
    clean_windows: Annotated[Windows | None, Blank] = Field(None, description="Clean windows until it ends.")
    model: FieldText = Field(None, description="Only this model; default: all.")
    from_ms: FieldInstant = Field(None, alias="from", description="First instant of the windows.")
    to_ms: FieldInstant = Field(None, alias="to", description="Last instant of the windows.")

    def fields(self) -> dict[str, str | None]:
        """The same as parameters."""
        said = {name: getattr(self, name) for name in FIELDS[:5]}
        texts = {name: None if value is None else f"{value}" for name, value in said.items()}
        return {**texts, "from": instant(self.from_ms), "to": instant(self.to_ms)}

    def change(self) -> PolicyChange:
        """What is different from the policy of today."""
        return PolicyChange(self.tolerance_psi, self.budget, self.min_windows, self.clean_windows)

    def wanted(self) -> Wanted:
        """Which windows are judged."""
        given = {"from_ms": self.from_ms, "to_ms": self.to_ms}
        return Wanted(model=self.model, **{name: at for name, at in given.items() if at is not None})


def routes(shell: Shell) -> APIRouter:
    """Build the routes."""
    router, context = APIRouter(), shell.context
    previews = Previews(context.clock)

    @router.get("/configuration/preview")
    def form(request: Request, asked: Annotated[PreviewAsked, Query()]) -> Response:
        with reading(context.engine) as connection:
            newest = newest_end_ms(connection)
        to_ms = asked.to_ms if asked.to_ms is not None else newest
        usual = None if to_ms is None else to_ms - USUAL_MS
        settings = context.configuration.defaults
        if asked.model is not None:
            settings = context.configuration.for_model(asked.model)
        return shell.page(
            request,
            "preview_form.html",
            HERE,
            asked=asked,
            from_ms=asked.from_ms if asked.from_ms is not None else usual,
            to_ms=to_ms,
            settings=settings,
            alerts=context.configuration.alerts,
            running=previews.running,
            has_windows=newest is not None,
        )

    @router.post("/configuration/preview")
    def start(posted: Posted, _asked: Annotated[NoParameters, Query()]) -> Response:
        asked = _read(posted)
        note(f"preview {', '.join(f'{k} {v}' for k, v in asked.fields().items() if v not in (None, ''))}")
        tried = _tried(context.configuration, asked)
        try:
            made = previews.start(context.configuration, tried, asked.wanted(), asked.fields())
        except UsageError as error:
            raise Refused(409, str(error)) from None
        return RedirectResponse(f"/configuration/preview/{made.id}", status_code=303)

    @router.get("/configuration/preview/{id}")
    def preview(request: Request, id: PathText, _asked: Annotated[NoParameters, Query()]) -> Response:
        found = _known(previews, id)
        both = None
        if found.found_today is not None and found.found_changed is not None:
            both = sides(found.found_today, found.found_changed)
        return shell.page(
            request,
            "preview.html",
            HERE,
            preview=found,
            differences=differences(found.today, found.changed, found.wanted.model),
            form=f"/configuration/preview{query(found.asked)}",
            sides=both,
        )

    @router.post("/configuration/preview/{id}/stop")
    def stop(id: PathText, _posted: Posted, _asked: Annotated[NoParameters, Query()]) -> Response:
        previews.stop(_known(previews, id).id)
        return RedirectResponse(f"/configuration/preview/{id}", status_code=303)

    return router


def _known(previews: Previews, id_: str) -> Preview:
    found = previews.get(id_)
    if found is None:
        raise not_found(id_, "preview (they are kept in the memory of one process for a while)", "path.id")
    return found


def _read(posted: Mapping[str, str]) -> PreviewAsked:
    try:
        asked = PreviewAsked.model_validate({name: posted[name] for name in FIELDS if name in posted})
    except ValidationError as error:
        raise _refused(error) from None
    if asked.from_ms is not None and asked.to_ms is not None and asked.to_ms <= asked.from_ms:
        what = "is not after the beginning of the range"
        raise Refused(422, f"form.to: {what}", [Mistake(where="form.to", what=what)])
    return asked


def _tried(configuration: Configuration, asked: PreviewAsked) -> Configuration:
    try:
        return changed(configuration, asked.change(), asked.model)
    except UsageError as error:
        raise Refused(422, str(error), [Mistake(where="form", what=str(error))]) from None


def _refused(error: ValidationError) -> Refused:
    mistakes = [
        Mistake(where=f"form.{one['loc'][0]}", what=one["msg"][:1].lower() + one["msg"][1:])
        for one in error.errors(include_input=False)
    ]
    return Refused(422, "; ".join(f"{one.where}: {one.what}" for one in mistakes), mistakes)
