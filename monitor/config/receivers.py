"""Receivers of alerts: each notifier that exists brings its own options, found by its catalog."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from alerting.notifiers import catalog


@cache
def receiver_options() -> Mapping[str, type[BaseModel]]:
    """Options of every type of receiver that exists, by the name that ``type`` takes."""
    return {name: notifier.Options for name, notifier in sorted(catalog.notifiers().items())}


class _ByType:
    """Validates a receiver by the options of the notifier that its ``type`` names."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        options = {name: handler.generate_schema(model) for name, model in receiver_options().items()}
        return core_schema.tagged_union_schema(options, discriminator="type")


Receiver = Annotated[BaseModel, _ByType()]
"""Options of one receiver; its class is the `Options` of the notifier that ``type`` names."""
