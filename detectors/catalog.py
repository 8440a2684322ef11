"""Find detectors by walking the package: a new one is a new file and nothing else."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from inspect import isabstract, isclass
from types import ModuleType
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

import detectors as package
from detectors.base import Detector
from schemas.errors import UsageError


def detectors() -> dict[str, type[Detector]]:
    """Return every detector of the package by name, in alphabetical order.

    Raises
    ------
    TypeError
        If two detectors have the same name, or a module declares a detector that cannot be built.

    Examples
    --------
    >>> detectors()["psi"].__name__
    'PsiThreshold'
    """
    return dict(_walk())


def build(name: str, parameters: Mapping[str, object]) -> Detector:
    """Build a detector from its configuration.

    Parameters
    ----------
    name : str
        Name of the detector.
    parameters : mapping of str to object
        Its parameters; those left out keep their defaults.

    Raises
    ------
    UsageError
        If there is no such detector or parameter, or a value is of the wrong type or out of range.

    Examples
    --------
    >>> build("psi", {"threshold": 0.2})
    PsiThreshold(threshold=0.2, tolerance=0.01, calibrate=True)
    """
    kinds = detectors()
    if name not in kinds:
        msg = f"there is no detector {name!r} (available: {', '.join(kinds)})"
        raise UsageError(msg)
    kind = kinds[name]
    types = parameter_types(kind)
    for parameter in parameters:
        if parameter not in types:
            msg = f"{name}: there is no parameter {parameter!r} (available: {', '.join(types)})"
            raise UsageError(msg)
    return kind(**{key: _typed(name, key, value, types[key]) for key, value in parameters.items()})


def parameter_types(kind: type[Detector]) -> dict[str, Any]:
    """Types of a detector's parameters by name, in order of declaration.

    Examples
    --------
    >>> parameter_types(detectors()["psi"])["calibrate"]
    <class 'bool'>
    """
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}  # type: ignore[arg-type]  # checked by `find`


def find(modules: Iterable[ModuleType]) -> dict[str, type[Detector]]:
    """Detectors defined in some modules, by name.

    A module declares a detector by defining a public class that derives from `Detector`.

    Raises
    ------
    TypeError
        If such a class lacks a name, lacks a method or is no frozen dataclass, or if a name occurs twice.
    """
    found: dict[str, type[Detector]] = {}
    for module in modules:
        for kind in _declared(module):
            _check(kind)
            if kind.name in found:
                msg = f"detector name {kind.name!r} is used by {_place(found[kind.name])} and {_place(kind)}"
                raise TypeError(msg)
            found[kind.name] = kind
    return dict(sorted(found.items()))


@cache
def _walk() -> dict[str, type[Detector]]:
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return find(importlib.import_module(f"{package.__name__}.{name}") for name in names)


def _declared(module: ModuleType) -> list[type[Detector]]:
    return [
        kind
        for name, kind in vars(module).items()
        if isclass(kind) and issubclass(kind, Detector) and kind is not Detector
        if kind.__module__ == module.__name__ and not name.startswith("_")
    ]


def _check(kind: type[Detector]) -> None:
    if isabstract(kind):
        missing = ", ".join(sorted(kind.__abstractmethods__))
        msg = f"{_place(kind)} declares a detector but does not define {missing}"
        raise TypeError(msg)
    if not isinstance(getattr(kind, "name", None), str):
        msg = f"{_place(kind)} declares a detector but has no name"
        raise TypeError(msg)
    if not is_dataclass(kind) or not kind.__dataclass_params__.frozen:
        msg = f"{_place(kind)} declares a detector but is not a frozen dataclass"
        raise TypeError(msg)


def _place(kind: type[Detector]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _typed(name: str, parameter: str, value: object, annotation: Any) -> Any:
    try:
        return TypeAdapter(annotation).validate_python(value, strict=True)
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        msg = f"{name}: {parameter}: {value!r} ({problem[0].lower()}{problem[1:]})"
        raise UsageError(msg) from error
