"""What is built from the settings of a model, once for all models that have the same ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from monitor.config.configuration import Configuration
from monitor.config.settings import ModelSettings

T = TypeVar("T")


class PerModel(Generic[T]):
    """Something that follows from the settings of a model alone and is costly to build.

    Parameters
    ----------
    configuration : Configuration
    build : callable
        Makes it from the settings in effect; what it gives is shared and must not be changed.
    """

    def __init__(self, configuration: Configuration, build: Callable[[ModelSettings], T]) -> None:
        self._configuration, self._build = configuration, build
        self._built: dict[str, T] = {}

    def __call__(self, model: str) -> T:
        """Return that of a model."""
        hash_ = self._configuration.hash_for(model)
        if hash_ not in self._built:
            self._built[hash_] = self._build(self._configuration.for_model(model))
        return self._built[hash_]
