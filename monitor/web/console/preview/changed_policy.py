"""A configuration with another policy: what a person wants to try on what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from monitor.config import Configuration
from monitor.config.messages import findings_of
from monitor.config.problem import Positions, write_path
from schemas.errors import UsageError

FILE = "driftline.yaml"


@dataclass(frozen=True)
class PolicyChange:
    """What is different; None leaves as it is.

    Parameters
    ----------
    tolerance_psi : float or None
        Of every column of the models that are judged.
    budget : str or None
        As in the configuration: ``1 per week``.
    min_windows, clean_windows : int or None
        Windows with findings before an alert fires, and clean ones before it is over.
    """

    tolerance_psi: float | None = None
    budget: str | None = None
    min_windows: int | None = None
    clean_windows: int | None = None


@dataclass(frozen=True)
class Difference:
    """One setting, before and after."""

    name: str
    before: str
    after: str


def changed(configuration: Configuration, change: PolicyChange, model: str | None) -> Configuration:
    """Build the configuration that would be applied.

    Parameters
    ----------
    configuration : Configuration
    change : PolicyChange
    model : str or None
        Whose tolerance is meant; None: that of all models.

    Raises
    ------
    UsageError
        If a value cannot be meant, alone or beside the others.
    """
    data = configuration.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for place in _tolerances(data, configuration, model) if change.tolerance_psi is not None else ():
        place["tolerance_psi"] = change.tolerance_psi
    alerts = data.setdefault("alerts", {})
    if change.budget is not None:
        alerts["budget"] = change.budget
    policy = alerts.setdefault("policy", {})
    for name in ("min_windows", "clean_windows"):
        if getattr(change, name) is not None:
            policy[name] = getattr(change, name)
    try:
        made = Configuration.model_validate(data)
    except ValidationError as error:
        found = (f"{write_path(path)}: {message}" for path, message in findings_of(error, data))
        raise UsageError("; ".join(found)) from None
    return made.located(Positions(str(configuration.folder / FILE), {}))


def differences(before: Configuration, after: Configuration, model: str | None) -> list[Difference]:
    """List what is different of the policy."""
    pairs = [
        ("tolerance_psi", _tolerance(before, model), _tolerance(after, model)),
        ("budget", str(before.alerts.budget), str(after.alerts.budget)),
    ]
    for name in ("min_windows", "clean_windows"):
        old, new = (str(getattr(one.alerts.policy, name)) for one in (before, after))
        pairs.append((name, old, new))
    return [Difference(*pair) for pair in pairs if pair[1] != pair[2]]


def _tolerance(configuration: Configuration, model: str | None) -> str:
    if model is not None:
        return f"{configuration.for_model(model).tolerance_psi:g}"
    entries = [configuration.for_model(name) for name in configuration.models]
    values = dict.fromkeys(f"{one.tolerance_psi:g}" for one in (configuration.defaults, *entries))
    return ", ".join(values)


def _tolerances(
    data: dict[str, Any], configuration: Configuration, model: str | None
) -> Iterator[dict[str, Any]]:
    """Places where a tolerance has to stand to hold for a model, or for all; columns' own are taken out."""
    entries = data.setdefault("models", {})
    if model is not None and model not in configuration.models:
        entries[model] = {}
    defaults = data.setdefault("defaults", {})
    meant = [defaults, *entries.values()] if model is None else [entries[model]]
    for entry in meant:
        for column in entry.get("columns", {}).values():
            column.pop("tolerance_psi", None)
        yield entry
