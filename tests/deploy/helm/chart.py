"""The chart, as the real helm renders it, and kubeconform's judgement of what comes out."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.deploy.helm.kubernetes_schemas import LOCATION
from tests.kit.waiting import PATIENCE_S

ROOT = Path(__file__).parents[3]
CHART = ROOT / "deploy" / "helm" / "driftline"
VALUES = Path(__file__).parent / "values"
RELEASE, NAMESPACE = "models", "monitoring"
ROLES = ("ingest", "evaluate", "web")

Manifest = dict[str, Any]


class RefusedError(Exception):
    """Helm has refused values; the message is what it says."""


@cache
def tools() -> Path:
    """Folder with helm, kubeconform and the sources of schemas, which deploy/setup/helm.sh makes."""
    script = ROOT / "deploy" / "setup" / "helm.sh"
    asked = subprocess.run([script, "--folder"], capture_output=True, text=True, check=True)
    return Path(asked.stdout.strip())


def helm(*arguments: str | Path) -> str:
    """Run helm and return what it prints.

    Raises
    ------
    RefusedError
        It has failed.
    """
    done = _run("helm", arguments)
    if done.returncode != 0:
        raise RefusedError(done.stdout + done.stderr)
    return done.stdout


def lint(values: Path) -> str:
    """Lint the chart with a file of values; returns what helm says."""
    return helm("lint", "--strict", CHART, "--values", values)


@cache
def render(name: str) -> list[Manifest]:
    """Render the chart with one of the files in `VALUES`, once for all tests, which leave it as it is."""
    return render_with(VALUES / f"{name}.yaml")


def render_with(*values: Path, chart: Path = CHART) -> list[Manifest]:
    """Render the chart, or one that is packed, with files of values, later ones over earlier ones."""
    chosen = [part for path in values for part in ("--values", str(path))]
    return read(helm("template", RELEASE, chart, "--namespace", NAMESPACE, *chosen))


def render_changed(name: str, folder: Path, **changes: object) -> list[Manifest]:
    """Render the chart with one of the files in `VALUES` and some values over it, written to a folder."""
    path = folder / "changes.yaml"
    path.write_text(json.dumps(changes))
    return render_with(VALUES / f"{name}.yaml", path)


def notes(values: Path, folder: Path) -> str:
    """What helm says to whoever has installed the chart.

    Only an installation says it, so a copy of the chart in a folder has the notes in a ConfigMap.
    """
    copied = shutil.copytree(CHART, folder / "driftline")
    (copied / "templates" / "NOTES.txt").rename(copied / "files" / "notes.txt")
    (copied / "templates" / "notes.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\n"
        'data:\n  said: |\n    {{- tpl (.Files.Get "files/notes.txt") . | nindent 4 }}\n'
    )
    made = helm("template", RELEASE, copied, "--values", values, "--show-only", "templates/notes.yaml")
    return read(made)[0]["data"]["said"]


def read(text: str) -> list[Manifest]:
    """Read manifests; those that hold nothing are left out."""
    return [manifest for manifest in YAML(typ="safe").load_all(text) if manifest]


def written(manifests: Sequence[Manifest]) -> str:
    """Manifests as text, which JSON is as well."""
    return "\n---\n".join(json.dumps(manifest) for manifest in manifests)


def complaints(text: str, schemas: Path) -> list[str]:
    """What kubeconform finds wrong with manifests; a kind without a schema is wrong too."""
    done = _run(
        "kubeconform",
        ("-strict", "-output", "json", "-schema-location", str(schemas / LOCATION), "-"),
        text,
    )
    found = json.loads(done.stdout)["resources"] or []
    return [f"{one['kind']} {one['name']}: {one['msg']}" for one in found]


def of_kind(manifests: Sequence[Manifest], kind: str) -> dict[str, Manifest]:
    """Manifests of a kind, by name."""
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] == kind}


def templates(manifests: Sequence[Manifest]) -> dict[str, Manifest]:
    """Templates of all pods, by component."""
    found = [one["spec"]["template"] for one in manifests if one["kind"] in ("Deployment", "Job")]
    return {one["metadata"]["labels"]["app.kubernetes.io/component"]: one for one in found}


def container(template: Manifest) -> Manifest:
    """The one container of a pod."""
    (only,) = template["spec"]["containers"]
    return only


def environment(template: Manifest) -> Mapping[str, Manifest]:
    """The variables of a pod, by name."""
    return {variable["name"]: variable for variable in container(template)["env"]}


def references(manifest: object) -> Iterator[Mapping[str, Any]]:
    """Every mapping in a manifest, at any depth."""
    if isinstance(manifest, dict):
        yield manifest
        for part in manifest.values():
            yield from references(part)
    elif isinstance(manifest, list):
        for part in manifest:
            yield from references(part)


def _run(name: str, arguments: Sequence[str | Path], text: str = "") -> subprocess.CompletedProcess[str]:
    if not (tools() / name).is_file():
        msg = f"the tests need {name}, which deploy/setup/helm.sh builds: run `make servers`"
        raise FileNotFoundError(msg)
    command = [str(tools() / name), *map(str, arguments)]
    return subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
