"""Open Data Contract Standard 3.1: what it has no word for stands under ``customProperties``."""

from __future__ import annotations

from typing import Any, ClassVar

from monitor.contracts.contract import CATEGORICAL, NUMERIC, Contract, Options
from monitor.contracts.importers.odcs import OWN
from monitor.contracts.patterns import PART, fitting
from monitor.contracts.yaml_text import block
from schemas.policy import read_limit

UNNAMED = "model"
OWN_OPTIONS = ("required", "severity", "rules", "personal", "freshness", "tolerance_psi")
"""What the standard cannot say at all."""


class Odcs:
    """Writes a data contract of version 3.1 with one table, whose rows are events."""

    name: ClassVar[str] = "odcs"

    def write(self, contract: Contract) -> str:
        """Write a contract as YAML."""
        name = contract.model or UNNAMED
        table: dict[str, Any] = {"name": name, "logicalType": "object", "physicalType": "stream"}
        table["properties"] = [_property(column, said) for column, said in contract.columns.items()]
        document: dict[str, Any] = {
            "apiVersion": "v3.1.0",
            "kind": "DataContract",
            "id": name,
            "name": name,
            "version": contract.version or "1.0.0",
            "status": "active",
            "schema": [table],
        }
        own = contract.as_settings()
        del own["columns"]
        return "\n".join([*block(document | _custom(own)), ""])


def _property(name: str, said: Options) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name}
    logical = _logical_type(said)
    if logical is not None:
        entry["logicalType"] = logical
    if said.get("nullable") is False:
        entry["required"] = True
    if said.get("unique"):
        entry["unique"] = True
    bounds = {"min": "minimum", "max": "maximum"}
    options = {theirs: said[ours] for ours, theirs in bounds.items() if ours in said}
    if options:
        entry["logicalTypeOptions"] = options
    rules = [*_missing(said), *_invalid(said)]
    if rules:
        entry["quality"] = rules
    return entry | _custom(_without_word(said))


def _logical_type(said: Options) -> str | None:
    """Type of the standard; of categories it is that of their values."""
    if said.get("kind") != CATEGORICAL:
        return "number" if said.get("kind") == NUMERIC else None
    kinds = {type(value) for value in said.get("values", ())}
    names = {bool: "boolean", int: "integer"}
    return names.get(kinds.pop(), "string") if len(kinds) == 1 else "string"


def _missing(said: Options) -> list[dict[str, Any]]:
    share = said.get("max_missing")
    return [] if share is None else [{"metric": "nullValues", **_at_most(share)}]


def _invalid(said: Options) -> list[dict[str, Any]]:
    """Rules for values and pattern; without a limit of its own no value may violate them."""
    arguments: dict[str, Any] = {}
    if "values" in said:
        arguments["validValues"] = said["values"]
    if "pattern" in said:
        arguments["pattern"] = fitting(said["pattern"], PART)
    if not arguments:
        return []
    rule: dict[str, Any] = {"metric": "invalidValues", "arguments": arguments}
    rule |= _at_most(said["limit"]) if "limit" in said else {"mustBe": 0}
    return [rule | ({"severity": said["severity"]} if "severity" in said else {})]


def _at_most(limit: float | str) -> dict[str, Any]:
    if isinstance(limit, str):
        return {"mustBeLessOrEqualTo": read_limit(limit).rows, "unit": "rows"}
    return {"mustBeLessOrEqualTo": round(limit * 100, 10), "unit": "percent"}


def _without_word(said: Options) -> dict[str, Any]:
    """Options that the standard cannot say, or not in a way that is read back the same."""
    own = {name: said[name] for name in OWN_OPTIONS if name in said}
    if "pattern" in said and fitting(said["pattern"], PART) != said["pattern"]:
        own["pattern"] = said["pattern"]
    if "limit" in said and not {"values", "pattern"} & said.keys():
        own["limit"] = said["limit"]
    return own


def _custom(own: Options) -> dict[str, Any]:
    if not own:
        return {}
    return {"customProperties": [{"property": f"{OWN}{name}", "value": value} for name, value in own.items()]}
