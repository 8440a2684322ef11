"""Pods of the chart: fenced in, told their secrets by reference, started with commands that there are."""

import json

import pytest
from starlette.testclient import TestClient

from monitor.app import Role
from monitor.clock import SystemClock
from monitor.config import load
from monitor.store import schema
from monitor.store.engine import create
from monitor.telemetry import Telemetry
from monitor.web.app import create_app
from monitor.web.sign_in.access import needed
from tests.deploy.helm.chart import (
    ROLES,
    VALUES,
    container,
    environment,
    notes,
    of_kind,
    references,
    render,
    render_changed,
    templates,
)
from tests.deploy.helm.command_line import commands_in, parse

FILES = sorted(VALUES.glob("*.yaml"))


@pytest.fixture(scope="module", params=[path.stem for path in FILES])
def manifests(request):
    return render(request.param)


@pytest.fixture(scope="module")
def everything():
    return render("everything")


def test_every_pod_is_restricted(manifests):
    assert set(templates(manifests)) == {*ROLES, "migrate"}
    for template in templates(manifests).values():
        pod, process = template["spec"], container(template)
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert process["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert "memory" in process["resources"]["limits"]


def test_pods_run_as_the_user_of_the_image_or_as_the_cluster_likes():
    for template in templates(render("minimum")).values():
        assert template["spec"]["securityContext"].items() >= {
            "runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001
        }.items()  # fmt: skip
    for template in templates(render("existing")).values():
        assert set(template["spec"]["securityContext"]) == {"runAsNonRoot", "seccompProfile"}


def test_only_tmp_can_be_written_to(manifests):
    for template in templates(manifests).values():
        volumes = {one["name"]: one for one in template["spec"]["volumes"]}
        mounts = container(template)["volumeMounts"]
        assert {one["mountPath"] for one in mounts if not one.get("readOnly")} == {"/tmp"}  # noqa: S108
        assert "sizeLimit" in volumes["tmp"]["emptyDir"]
        assert {one["name"] for one in mounts} == set(volumes)
        variables = environment(template)
        assert all(variables[name]["value"].startswith("/tmp") for name in ("HOME", "TMPDIR", "MPLCONFIGDIR"))  # noqa: S108


def test_secrets_are_references(everything):
    assert of_kind(everything, "Secret") == {}
    evaluate = environment(templates(everything)["evaluate"])
    web = environment(templates(everything)["web"])
    assert evaluate["SLACK_BOT_TOKEN"]["valueFrom"] == {
        "secretKeyRef": {"name": "driftline-receivers", "key": "slack"}
    }
    assert "SLACK_BOT_TOKEN" not in web
    for template in templates(everything).values():
        plain = {name for name, variable in environment(template).items() if "value" in variable}
        assert plain == {
            "HOME", "TMPDIR", "MPLCONFIGDIR", "DRIFTLINE_LOG_LEVEL", "DRIFTLINE_LOG_FORMAT", "TZ"
        }  # fmt: skip


def test_files_of_secrets_can_be_read_by_the_pod_alone(everything):
    for template in templates(everything).values():
        volumes = [one["secret"] for one in template["spec"]["volumes"] if "secret" in one]
        assert [one["secretName"] for one in volumes] == ["registry-ca", "hook"]
        assert {one["defaultMode"] for one in volumes} == {0o440}
        assert volumes[0]["items"] == [{"key": "ca.pem", "path": "ca.crt"}]


def test_the_commands_are_those_of_driftline(manifests):
    found = templates(manifests)
    for role in ROLES:
        parsed = parse(container(found[role])["args"])
        (port,) = container(found[role])["ports"]
        assert parsed == {
            "config": "/etc/driftline/driftline.yaml", "role": role, "http_port": port["containerPort"]
        }  # fmt: skip
    upgrade = container(found["migrate"])["args"]
    assert upgrade[:2] == ["db", "upgrade"]
    assert parse(upgrade)["config"] == "/etc/driftline/driftline.yaml"
    assert {*ROLES, "all"} == {role.value for role in Role}


def test_the_service_has_time_to_leave(manifests):
    for role, template in templates(manifests).items():
        if role != "migrate":
            assert template["spec"]["terminationGracePeriodSeconds"] > 10


def test_probes_and_scrapes_ask_for_what_everybody_is_given(everything, tmp_path):
    asked = {
        probe["httpGet"]["path"]
        for role in ROLES
        for name, probe in container(templates(everything)[role]).items()
        if name.endswith("Probe")
    }
    (monitor,) = of_kind(everything, "PodMonitor").values()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert asked == {"/livez", "/readyz"}
    path = tmp_path / "driftline.yaml"
    path.write_text(of_kind(render("minimum"), "ConfigMap")["models-driftline"]["data"]["driftline.yaml"])
    engine = create(f"sqlite:///{tmp_path / 'driftline.db'}")
    schema.upgrade(engine)
    app = create_app(load(str(path)), engine, Telemetry(), SystemClock())
    with TestClient(app, base_url="http://10.0.0.9:8420") as client:
        for path in (*asked, endpoint["path"]):
            assert needed("GET", path) == "open"
            assert client.get(path).status_code == 200
    engine.dispose()
    assert needed("GET", endpoint["path"], metrics_need_token=True) != "open"
    assert endpoint["authorization"]["credentials"] == {"name": "driftline-metrics", "key": "token"}


def test_pods_start_anew_when_the_configuration_changes(tmp_path):
    before, same = templates(render("minimum")), templates(render_changed("minimum", tmp_path))
    after = templates(render_changed("minimum", tmp_path, config={"commit_interval": "7s"}))
    for role in ROLES:
        checksums = [
            found[role]["metadata"]["annotations"]["checksum/config"] for found in (before, same, after)
        ]
        assert checksums[0] == checksums[1] != checksums[2]


def test_the_image_has_the_version_of_the_chart_unless_told_otherwise(everything):
    assert container(templates(render("minimum"))["web"])["image"] == ("registry.example.org/driftline:0.1.0")
    assert container(templates(render("existing"))["web"])["image"].endswith(":0.1.0-2")
    assert "driftline@sha256:0000" in container(templates(everything)["migrate"])["image"]


def test_where_pods_run_is_what_was_said(everything):
    pod = templates(everything)["ingest"]["spec"]
    assert pod["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    assert pod["tolerations"][0]["key"] == "dedicated"
    assert "podAntiAffinity" in pod["affinity"]
    assert pod["priorityClassName"] == "high"
    own, given = (one["labelSelector"]["matchLabels"] for one in pod["topologySpreadConstraints"])
    assert own["app.kubernetes.io/component"] == "ingest"
    assert given == {"team": "ml"}


@pytest.mark.parametrize("name", ["minimum", "existing", "everything"])
def test_commands_in_the_notes_can_be_given(name, tmp_path):
    said = notes(VALUES / f"{name}.yaml", tmp_path)
    commands = commands_in(said)
    assert [words[0] for words in commands] == ["status", "token"]
    assert {parse(words)["config"] for words in commands} == {"/etc/driftline/driftline.yaml"}
    assert ("https://driftline.example.org/" in said) == (name == "everything")
    assert ("rollout restart" in said) == (name == "existing")


def test_no_manifest_holds_a_value_under_a_secret_name(manifests):
    for manifest in manifests:
        for mapping in references(manifest):
            assert not {"stringData", "password", "token"} & set(mapping), json.dumps(mapping)
