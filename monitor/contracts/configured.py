"""The contract of a model, from a configuration or from a contract of another tool."""

from __future__ import annotations

from monitor.config import Configuration, load
from monitor.config.settings import ModelSettings
from monitor.contracts.catalog import contract_of, importer_of
from monitor.contracts.contract import Contract
from monitor.contracts.document import read_document
from schemas.duration import format_duration
from schemas.errors import UsageError

_SECTIONS = {"kafka", "streams", "models", "defaults"}


def read_any(path: str, model: str | None) -> Contract:
    """Read the contract that a file holds, be it a configuration or a contract of another tool.

    Parameters
    ----------
    path : str
    model : str, optional
        Which model of a configuration; may be left out where it has one.

    Raises
    ------
    UsageError
        If the file cannot be read, or the model is not in it.
    ConfigurationError
        If it is a configuration with faults.
    """
    document = read_document(path)
    is_configuration = isinstance(document.value, dict) and bool(_SECTIONS & document.value.keys())
    if is_configuration and importer_of(document) is None:
        configuration = load(path)
        return contract_in(configuration, path, _named(configuration, path, model))
    return contract_of(document)


def contract_in(configuration: Configuration, path: str, model: str) -> Contract:
    """Contract of a model of a configuration: its settings in effect.

    Raises
    ------
    UsageError
        If the configuration has no entry for the model.
    """
    if model not in configuration.models:
        known = ", ".join(configuration.models) or "none"
        msg = f"{path}: models: has no entry {model!r} (there are: {known})"
        raise UsageError(msg)
    return of_settings(configuration.for_model(model), model)


def of_settings(settings: ModelSettings, model: str) -> Contract:
    """Contract that the settings of a model state."""
    columns = {name: column.model_dump(exclude_none=True) for name, column in settings.columns.items()}
    return Contract(
        columns,
        task=settings.task,
        positive_label=settings.positive_label,
        segments=settings.segments,
        rules={name: rule.model_dump(exclude_none=True) for name, rule in settings.rules.items()},
        freshness=None if settings.freshness_ms is None else format_duration(settings.freshness_ms),
        model=model,
    )


def _named(configuration: Configuration, path: str, model: str | None) -> str:
    if model is not None:
        return model
    if len(configuration.models) == 1:
        return next(iter(configuration.models))
    known = ", ".join(configuration.models) or "none"
    msg = f"{path}: has {len(configuration.models)} models: say which with --model (there are: {known})"
    raise UsageError(msg)
