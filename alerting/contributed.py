"""Finds the classes that the modules of a package contribute; nothing is registered by hand."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import pkgutil
from abc import ABC
from functools import cached_property
from types import ModuleType
from typing import Annotated, Any, ClassVar, Generic, TypeVar, Union, get_args

from pydantic import BaseModel, Field


class Configured(ABC):
    """What an entry of the configuration builds: a receiver, named by the ``type`` of its options."""

    Options: ClassVar[type[BaseModel]]

    options: BaseModel

    @classmethod
    def type_name(cls) -> str:
        """Name of the class in the configuration."""
        return str(get_args(cls.Options.model_fields["type"].annotation)[0])

    @property
    def fingerprint(self) -> str:
        """Changes whenever the options do; a receiver that was disabled is tried again after that."""
        return hashlib.sha256(self.options.model_dump_json().encode()).hexdigest()[:16]


T = TypeVar("T", bound=Configured)


class Contributed(Generic[T]):
    """The classes of one kind in a package, a module each.

    Parameters
    ----------
    package : module
        Whose modules are walked, not those of packages in it.
    kind : type
        What a contribution derives from.
    """

    def __init__(self, package: ModuleType, kind: type[T]) -> None:
        self._package = package
        self._kind = kind

    def modules(self) -> list[ModuleType]:
        """Import every module of the package."""
        names = sorted(info.name for info in pkgutil.iter_modules(self._package.__path__))
        return [importlib.import_module(f"{self._package.__name__}.{name}") for name in names]

    def by(self, module: ModuleType) -> list[type[T]]:
        """List what a module defines itself."""
        return [
            cls
            for _, cls in inspect.getmembers(module, inspect.isclass)
            if issubclass(cls, self._kind)
            and not inspect.isabstract(cls)
            and cls.__module__ == module.__name__
        ]

    @cached_property
    def classes(self) -> dict[str, type[T]]:
        """All of them by the name of their type, in alphabetical order."""
        found = {cls.type_name(): cls for module in self.modules() for cls in self.by(module)}
        return dict(sorted(found.items()))

    @cached_property
    def options(self) -> Any:
        """The type of an entry in the configuration: the options of all, told apart by ``type``."""
        options = tuple(cls.Options for cls in self.classes.values())
        return Annotated[Union[options], Field(discriminator="type")]  # noqa: UP007 - known at run time
