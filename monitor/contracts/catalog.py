"""Finds what reads and writes contracts, by walking `monitor.contracts.importers` and ``exporters``."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, ClassVar, Protocol

from monitor.contracts import exporters as exporting
from monitor.contracts import importers as importing
from monitor.contracts.contract import Contract
from monitor.contracts.document import Node, read_document
from schemas.errors import UsageError


@dataclass(frozen=True)
class Example:
    """A document written from the specification of its format, and the contract that it becomes.

    Parameters
    ----------
    document : object
        As it stands in the file.
    contract : Contract
        With its notes.
    """

    document: Any
    contract: Contract


class Importer(Protocol):
    """Reads the contracts of one tool.

    A class with these members in a module of `monitor.contracts.importers` is found by itself.
    """

    name: ClassVar[str]

    def matches(self, document: Node) -> bool:
        """Whether a document is in this format; must not be true of what others know better."""
        ...

    def read(self, document: Node) -> Contract:
        """Turn a document into a contract.

        Raises
        ------
        UsageError
            If it cannot be read, with the file, the place and what is allowed.
        """
        ...

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Documents in this format, written from its specification."""
        ...


class Exporter(Protocol):
    """Writes contracts in one format, found like importers."""

    name: ClassVar[str]

    def write(self, contract: Contract) -> str:
        """Write a contract."""
        ...


@cache
def importers() -> dict[str, Importer]:
    """All importers by name."""
    return {one.name: one for one in sorted(_made(importing, "matches"), key=lambda one: str(one.name))}


@cache
def exporters() -> dict[str, Exporter]:
    """All exporters by name."""
    return {one.name: one for one in sorted(_made(exporting, "write"), key=lambda one: str(one.name))}


def importer_of(document: Node) -> Importer | None:
    """Importer that knows a document; None if none does."""
    return next((one for one in importers().values() if one.matches(document)), None)


def contract_of(document: Node) -> Contract:
    """Read the contract that a document holds.

    Raises
    ------
    UsageError
        If it is in no known format, or cannot be read.
    """
    importer = importer_of(document)
    if importer is None:
        what = "a document of its own making"
        if isinstance(document.value, dict):
            what = f"a mapping with {', '.join(sorted(map(str, document.value))[:8]) or 'nothing'}"
        msg = f"is no contract that is known, but {what} (known are {', '.join(importers())})"
        raise document.wrong(msg)
    try:
        return importer.read(document)
    except RecursionError as error:
        msg = "is nested too deeply"
        raise document.wrong(msg) from error


def read_contract(path: str) -> Contract:
    """Read a contract from a file in any known format; see `contract_of`."""
    return contract_of(read_document(path))


def export(contract: Contract, name: str) -> str:
    """Write a contract in a format.

    Raises
    ------
    UsageError
        If there is no such format.
    """
    if name not in exporters():
        msg = f"--format: {name!r} is no format (use {', '.join(exporters())})"
        raise UsageError(msg)
    return exporters()[name].write(contract)


def _made(package: ModuleType, method: str) -> Iterator[Any]:
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        for _, item in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if item.__module__ == module.name and callable(getattr(item, method, None)):
                yield item()
