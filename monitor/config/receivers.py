"""Receivers of alerts: each notifier and each retraining target brings its own options."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from alerting.notifiers import catalog
from alerting.retraining import catalog as retraining


@cache
def receiver_options() -> Mapping[str, type[BaseModel]]:
    """Options of every type of receiver that exists, by the name that ``type`` takes."""
    readers = {name: notifier.Options for name, notifier in catalog.notifiers().items()}
    starters = {name: target.Options for name, target in retraining.targets().items()}
    return dict(sorted((readers | starters).items()))


class _ByType:
    """Validates a receiver by the options of what its ``type`` names."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        options = {name: handler.generate_schema(model) for name, model in receiver_options().items()}
        return core_schema.tagged_union_schema(options, discriminator="type")


Receiver = Annotated[BaseModel, _ByType()]
"""Options of one receiver; its class is the `Options` of the notifier or target that ``type`` names."""
