"""JSON Schemas of what the chart makes, for kubeconform, from the sources of Kubernetes and of the operators.

They are strict: a field that the API does not know is wrong, as nobody notices a mistyped one in a cluster.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

Schema = dict[str, Any]

KINDS = (
    "io.k8s.api.apps.v1.Deployment",
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
    "io.k8s.api.batch.v1.Job",
    "io.k8s.api.core.v1.ConfigMap",
    "io.k8s.api.core.v1.Service",
    "io.k8s.api.core.v1.ServiceAccount",
    "io.k8s.api.networking.v1.Ingress",
    "io.k8s.api.networking.v1.NetworkPolicy",
    "io.k8s.api.policy.v1.PodDisruptionBudget",
)
LOCATION = "{{ .ResourceKind }}{{ .KindSuffix }}.json"
"""How kubeconform finds the file of a kind."""

# The OpenAPI document calls these texts; as its descriptions say, the API takes numbers as well.
LOOSER: dict[str, Schema] = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["string", "integer"]},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["string", "number"]},
}


def write_schemas(sources: Path, target: Path) -> None:
    """Write a file for each kind.

    Parameters
    ----------
    sources
        Folder with swagger.json of Kubernetes and the custom resource definitions of the operators.
    target
        Folder to write to.
    """
    definitions = json.loads((sources / "swagger.json").read_text())["definitions"]
    for name in KINDS:
        group = definitions[name]["x-kubernetes-group-version-kind"][0]
        _write(target, group["group"], group["version"], group["kind"], _standalone(name, definitions))
    for path in sorted(sources.glob("*.yaml")):
        resource = YAML(typ="safe").load(path)["spec"]
        for version in resource["versions"]:
            schema = _strict(version["schema"]["openAPIV3Schema"])
            _write(target, resource["group"], version["name"], resource["names"]["kind"], schema)


def _write(target: Path, group: str, version: str, kind: str, schema: Schema) -> None:
    parts = [kind.lower(), *([group.split(".")[0]] if group else []), version]
    (target / f"{'-'.join(parts)}.json").write_text(json.dumps(schema))


def _standalone(name: str, definitions: Mapping[str, Schema]) -> Schema:
    """One definition with all that it refers to."""
    needed: dict[str, Schema] = {}
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one not in needed:
            needed[one] = LOOSER.get(one) or _strict(definitions[one])
            waiting += _referred(needed[one])
    return {"$ref": f"#/definitions/{name}", "definitions": needed}


def _referred(schema: Any) -> Iterator[str]:
    """Names of the definitions that a schema refers to."""
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].removeprefix("#/definitions/")
        for part in schema.values():
            yield from _referred(part)


def _strict(schema: Schema) -> Schema:
    """Return a schema of which every object knows no other fields than it lists."""
    made = {key: value for key, value in schema.items() if key != "description"}
    if "properties" in schema:
        made["properties"] = {name: _strict(part) for name, part in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    if isinstance(schema.get("items"), dict):
        made["items"] = _strict(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        made["additionalProperties"] = _strict(schema["additionalProperties"])
    if schema.get("nullable") and "type" in schema:
        made["type"] = [schema["type"], "null"]
    return made
