"""MLflow: an ``MLmodel`` file, whose signature is JSON inside YAML."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from monitor.contracts.catalog import Example
from monitor.contracts.contract import CATEGORICAL, NUMERIC, Contract
from monitor.contracts.document import Node
from monitor.contracts.draft import Draft

KINDS = {
    "double": NUMERIC, "float": NUMERIC, "long": NUMERIC, "integer": NUMERIC,
    "string": CATEGORICAL, "boolean": CATEGORICAL,
}  # fmt: skip
_TASKS = {
    "double": "regression",
    "float": "regression",
    "boolean": "binary_classification",
    "string": "multiclass_classification",
}


class Mlflow:
    """Reads the signature of a model: columns of its input; what its output is tells the task."""

    name: ClassVar[str] = "mlflow"

    def matches(self, document: Node) -> bool:
        """Whether it has a signature, or is a model file without one."""
        signature = document["signature"]
        return "inputs" in signature or "outputs" in signature or "flavors" in document

    def read(self, document: Node) -> Contract:
        """Turn a signature into a contract; see `monitor.contracts.catalog.Importer`."""
        signature = document["signature"]
        if "inputs" not in signature or signature["inputs"].value is None:
            msg = "is missing or has no inputs (log the model with a signature of columns)"
            raise signature.wrong(msg)
        draft = Draft()
        for entry in _opened(signature["inputs"]):
            _input(draft, entry)
        for parameter in _opened(signature["params"]):
            draft.left_out(f"parameter {parameter['name'].value} of predictions")
        return draft.finished(task=_task(draft, _opened(signature["outputs"])))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Model files as MLflow 1 (no ``required``) and later ones write them."""
        return (Example(_EXAMPLE, _EXPECTED), Example(_FIRST, _FIRST_EXPECTED))


def _opened(place: Node) -> list[Node]:
    """Entries of a part of the signature, which is a text that holds JSON."""
    if place.value is None:
        return []
    if not isinstance(place.value, str):
        return list(place)
    try:
        inner = json.loads(place.value)
    except (ValueError, RecursionError) as error:
        message = f"is not JSON: {error} (a text that holds a JSON list of columns)"
        raise place.wrong(message) from error
    return list(place.within(inner))


def _input(draft: Draft, entry: Node) -> None:
    kind = entry["type"].word()
    if kind == "tensor" or "tensor-spec" in entry:
        msg = "is a tensor, whose numbers have no names (log the model with a data frame as input example)"
        raise entry.wrong(msg)
    if entry["name"].value is None:
        msg = "has no name (only signatures of named columns can be watched)"
        raise entry.wrong(msg)
    _column(draft, entry, str(entry["name"].value))


def _column(draft: Draft, entry: Node, name: str) -> None:
    kind = entry["type"].word()
    if kind == "object":
        for key, below in entry["properties"].entries().items():
            _column(draft, below, f"{name}.{key}")
        return
    column = draft.column(name, entry)
    if kind in KINDS:
        column.of_kind(KINDS[kind])
    else:
        column.left_out(f"type {kind}")
    is_required = entry["required"].truth(default=not entry["optional"].truth(default=False))
    if not is_required:
        column.optional()


def _task(draft: Draft, outputs: list[Node]) -> str | None:
    """Task that one column of output tells; whole numbers may be classes or counts."""
    kinds = [entry["type"].word() for entry in outputs]
    if len(kinds) == 1 and kinds[0] in _TASKS:
        return _TASKS[str(kinds[0])]
    if kinds:
        draft.left_out(f"the task: outputs of type {', '.join(map(str, kinds))} do not tell it")
    return None


_EXAMPLE: dict[str, Any] = {
    "flavors": {"python_function": {"loader_module": "mlflow.sklearn"}},
    "mlflow_version": "3.1.0",
    "signature": {
        "inputs": '[{"type": "double", "name": "temp", "required": true},'
        ' {"type": "string", "name": "carrier", "required": false},'
        ' {"type": "datetime", "name": "day", "required": true},'
        ' {"type": "object", "name": "plane", "required": true,'
        ' "properties": {"seats": {"type": "long", "required": true}}}]',
        "outputs": '[{"type": "double", "required": true}]',
        "params": '[{"name": "threshold", "type": "double", "default": 0.5, "shape": null}]',
    },
}
_EXPECTED = Contract(
    {
        "temp": {"kind": NUMERIC},
        "carrier": {"kind": CATEGORICAL, "required": False},
        "day": {},
        "plane.seats": {"kind": NUMERIC},
    },
    task="regression",
    notes=("left out: day: type datetime", "left out: parameter threshold of predictions"),
)
_FIRST: dict[str, Any] = {
    "artifact_path": "model",
    "signature": {
        "inputs": '[{"name": "age", "type": "integer"}, {"name": "member", "type": "boolean"}]',
        "outputs": '[{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]',
    },
}
_FIRST_EXPECTED = Contract(
    {"age": {"kind": NUMERIC}, "member": {"kind": CATEGORICAL}},
    notes=("left out: the task: outputs of type tensor do not tell it",),
)
