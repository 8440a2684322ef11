"""``/models/{model}/versions/{version}/reference``: what a version is compared with, and what it could be."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Query
from pydantic import AfterValidator, BaseModel, Field

from monitor.references.offers import Candidate, Offer, accept, offer_of
from monitor.store.engine import immediate, reading
from monitor.store.queries.models import versions_of
from monitor.web.context import Context
from monitor.web.documents import InstantText, instant
from monitor.web.parameters import Asked, Instant, NoParameters, PathText, Text
from monitor.web.problems import Mistake, Refused, not_found
from monitor.web.sign_in.acting import name_or
from schemas.errors import UnusableReference


class CandidateDocument(BaseModel):
    """A reference of the model."""

    hash: str
    source: str = Field(description="What it was made of.")
    created_at: InstantText | None


class OfferDocument(BaseModel):
    """What a version is compared with, and which references fit it."""

    model: str
    version: str
    in_force: CandidateDocument | None = Field(description="Null while it learns.")
    is_own: bool = Field(description="Whether that was made of its own events, or for it alone.")
    candidates: list[CandidateDocument] = Field(description="Others, the newest first.")
    words: str = Field(description="The same in a sentence.")


class OfferAsked(Asked):
    """Which references are offered."""

    since: Instant = Field(0, description="Only those made since then, as when training began.")


class PromotionAsked(Asked):
    """A reference for a version."""

    hash: Text = Field(
        min_length=4,
        max_length=64,
        description="Its hash, or the beginning of it.",
        json_schema_extra={"pattern": "^[0-9A-Fa-f]+$"},
    )
    actor: Annotated[Text, AfterValidator(name_or)] = Field(
        "api", min_length=1, max_length=200, validate_default=True
    )


class PromotionDocument(BaseModel):
    """What is in force now."""

    model: str
    version: str
    hash: str
    since: InstantText | None = Field(description="First window that is compared with it.")


def routes(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(tags=["references"])
    path = "/models/{model:path}/versions/{version:path}/reference"

    @router.get(path, summary="The reference of a version, and others that fit")
    def get_reference_offer(
        model: PathText, version: PathText, asked: Annotated[OfferAsked, Query()]
    ) -> OfferDocument:
        """What a version is compared with now; after training, what it could be compared with instead."""
        return _document(offer(context, model, version, asked.since))

    @router.post(path, summary="Compare a version with another reference", status_code=201)
    def promote_reference(
        model: PathText,
        version: PathText,
        _asked: Annotated[NoParameters, Query()],
        body: Annotated[PromotionAsked, Body()],
    ) -> PromotionDocument:
        """From its next window on; windows that were judged stay as they are."""
        hash_, from_ms = promoted(context, model, version, body.hash, body.actor)
        since = None if from_ms == 0 else instant(from_ms)
        return PromotionDocument(model=model, version=version, hash=hash_, since=since)

    return router


def offer(context: Context, model: str, version: str, since_ms: int) -> Offer:
    """Look what references there are for a version.

    Raises
    ------
    Refused
        If the model has no such version.
    """
    with reading(context.engine) as connection:
        known = versions_of(connection, model)
        if version not in known:
            raise not_found(version, "version of that model", "path.version", known)
        settings = context.configuration.for_model(model)
        return offer_of(connection, settings, (model, version), since_ms)


def promoted(context: Context, model: str, version: str, prefix: str, actor: str) -> tuple[str, int]:
    """Compare a version with a reference from its next window on; its hash, and the first window.

    Raises
    ------
    Refused
        If there is no such version or reference, or the reference cannot be used.
    """
    with immediate(context.engine) as connection:
        known = versions_of(connection, model)
        if version not in known:
            raise not_found(version, "version of that model", "path.version", known)
        settings, now_ms = context.configuration.for_model(model), context.clock.now_ms()
        try:
            return accept(connection, settings, (model, version), prefix, by=actor, now_ms=now_ms)
        except UnusableReference as error:
            raise Refused(422, str(error), [Mistake(where="body.hash", what=str(error))]) from None


def _document(found: Offer) -> OfferDocument:
    return OfferDocument(
        model=found.model,
        version=found.version,
        in_force=None if found.in_force is None else _candidate(found.in_force),
        is_own=found.is_own,
        candidates=[_candidate(one) for one in found.candidates],
        words=found.words,
    )


def _candidate(one: Candidate) -> CandidateDocument:
    return CandidateDocument(hash=one.hash, source=one.source, created_at=instant(one.created_at_ms))
