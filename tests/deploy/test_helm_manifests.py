"""The chart renders to what Kubernetes and the operators take, whatever is switched on."""

import copy
from pathlib import Path

import pytest

from tests.deploy.helm.chart import (
    VALUES,
    complaints,
    container,
    lint,
    of_kind,
    render,
    templates,
    tools,
    written,
)
from tests.deploy.helm.kubernetes_schemas import write_schemas

FILES = sorted(VALUES.glob("*.yaml"))
ALWAYS = {"ConfigMap", "Deployment", "Job", "NetworkPolicy", "Service", "ServiceAccount"}
ON_REQUEST = {
    "HorizontalPodAutoscaler", "Ingress", "PodDisruptionBudget", "PodMonitor", "PrometheusRule",
    "ScaledObject",
}  # fmt: skip


@pytest.fixture(scope="module")
def schemas(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("schemas")
    write_schemas(tools() / "schemas", folder)
    return folder


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_what_is_rendered_is_what_the_api_takes(path, schemas):
    assert "0 chart(s) failed" in lint(path)
    assert complaints(written(render(path.stem)), schemas) == []


def test_a_field_that_the_api_does_not_know_would_be_found(schemas):
    spoilt = copy.deepcopy([one for one in render("everything") if "spec" in one])
    for manifest in spoilt:
        manifest["spec"]["mistyped"] = 1
    assert len(complaints(written(spoilt), schemas)) == len(spoilt)


def test_a_field_deep_inside_or_of_another_type_would_be_found(schemas):
    mistyped, worded = copy.deepcopy(list(of_kind(render("everything"), "Deployment").values()))[:2]
    container(mistyped["spec"]["template"])["livenesProbe"] = {}
    worded["spec"]["revisionHistoryLimit"] = "three"
    found = sorted(complaints(written([mistyped, worded]), schemas))  # evaluate before ingest
    assert ["livenesProbe" in found[0], "revisionHistoryLimit" in found[1]] == [True, True]


def test_what_was_not_asked_for_is_not_made():
    least = {one["kind"] for one in render("minimum")}
    most = {one["kind"] for one in render("everything")}
    assert least == ALWAYS
    assert most == ALWAYS | ON_REQUEST


def test_what_is_there_already_is_not_made():
    manifests = render("existing")
    assert of_kind(manifests, "ConfigMap") == of_kind(manifests, "ServiceAccount") == {}
    for template in templates(manifests).values():
        assert template["spec"]["serviceAccountName"] == "driftline-pods"
        (volume,) = (one for one in template["spec"]["volumes"] if one["name"] == "config")
        assert volume["configMap"] == {
            "name": "driftline-configuration",
            "items": [{"key": "production.yaml", "path": "driftline.yaml"}],
        }


def test_names_are_of_one_release_and_labelled():
    for manifest in render("everything"):
        labels = manifest["metadata"]["labels"]
        assert manifest["metadata"]["name"].split("-")[0] == "watch"
        assert {
            name: labels[f"app.kubernetes.io/{name}"]
            for name in ("name", "instance", "part-of", "managed-by")
        } == {"name": "drift", "instance": "models", "part-of": "driftline", "managed-by": "Helm"}
