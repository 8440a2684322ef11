"""compose.yaml and the files beside it: well formed, closed to the outside, and in agreement."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.config.loader import examine
from tests.deploy.compose_world import FOLDER, compose, make_secrets, read
from tests.kit.kafka import VERSION
from tests.kit.process import program
from tests.meta.project import ROOT

SERVICES = compose()["services"]
DRIFTLINE = {name for name, one in SERVICES.items() if "build" in one}
ONCE = {"migrate", "topics"}
CONFIGURATION = read(FOLDER / "driftline.yaml")


def mounts(name):
    """Bind mounts of a service: path inside → path outside."""
    parts = [mount.split(":") for mount in SERVICES[name].get("volumes", []) if mount.startswith(".")]
    assert all(mode == "ro" for _, _, mode in parts)
    return {inside: (FOLDER / outside).resolve() for outside, inside, _ in parts}


def test_it_is_what_the_specification_allows():
    checker = Path(sys.executable).parent / "check-jsonschema"
    command = [str(checker), "--builtin-schema", "vendor.compose-spec", str(FOLDER / "compose.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_has_no_more_rights_than_it_needs(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert any(mount.partition(":")[0] == "/tmp" for mount in service["tmpfs"])  # noqa: S108 - a container's
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert not {"privileged", "cap_add", "network_mode", "pid"} & set(service)
    assert all(path.exists() for path in mounts(name).values())


@pytest.mark.parametrize("name", sorted(set(SERVICES) - DRIFTLINE))
def test_images_of_others_have_a_version(name):
    assert re.search(r":v?\d+\.\d+(\.\d+)?(-\w+)?$", SERVICES[name]["image"])
    assert name in ONCE or "test" in SERVICES[name]["healthcheck"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_waits_for_what_it_needs(name):
    waits = SERVICES[name].get("depends_on", {})
    for other, how in waits.items():
        expected = "service_completed_successfully" if other in ONCE else "service_healthy"
        assert how["condition"] == expected
    if name in DRIFTLINE - ONCE:
        assert set(waits) == {"kafka", "topics", "migrate"}
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > 10
    assert SERVICES[name]["restart"] == ("no" if name in ONCE else "unless-stopped")


def test_kafka_is_the_one_that_the_tests_run_against():
    assert SERVICES["kafka"]["image"] == SERVICES["topics"]["image"] == f"apache/kafka:{VERSION}"


def test_the_secrets_are_made_once_and_fit_together(tmp_path):
    folder = tmp_path / "secrets"
    assert make_secrets(folder).count("secrets: made ") == 4
    made = {path.name: path.read_text().strip() for path in folder.iterdir()}
    assert set(made) == set(compose()["secrets"])
    assert set(made) == {name for one in SERVICES.values() for name in one.get("secrets", [])}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o444}
    settings = SERVICES["postgres"]["environment"]
    who, where = f"{settings['POSTGRES_USER']}:{made['postgres_password']}", settings["POSTGRES_DB"]
    assert made["database_url"] == f"postgresql+psycopg://{who}@postgres:5432/{where}"
    assert len({made[name] for name in set(made) - {"database_url"}}) == 3
    assert make_secrets(folder) == ""
    assert {path.name: path.read_text().strip() for path in folder.iterdir()} == made


def test_no_secret_is_committed_or_reaches_an_image():
    ignored = subprocess.run(
        ["git", "check-ignore", "deploy/compose/secrets/events_token"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert ignored.returncode == 0
    assert "deploy/compose" not in (ROOT / ".dockerignore").read_text()


def test_every_secret_that_is_asked_for_is_there():
    text = (FOLDER / "compose.yaml").read_text() + (FOLDER / "driftline.yaml").read_text()
    asked = set(re.findall(r"/run/secrets/(\w+)", text))
    assert asked == set(compose()["secrets"])


def test_the_configuration_fits_the_services():
    secrets = (": file '/run/secrets/", ": No such file or directory")
    problems = [str(one) for one in examine(str(FOLDER / "driftline.yaml"))[1]]
    assert [one for one in problems if not all(part in one for part in secrets)] == []
    advertised = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"INTERNAL://{CONFIGURATION['kafka']['bootstrap_servers']}," in advertised
    named = re.search(r"for topic in ([\w ]+);", SERVICES["topics"]["command"][-1])
    assert named is not None
    assert named[1].split() == [one["topic"] for one in CONFIGURATION["streams"]]
    assert SERVICES["web"]["ports"] == ["127.0.0.1:8420:8420"]
    assert CONFIGURATION["http"]["public_url"] == "http://127.0.0.1:8420"
    assert {mount for name in DRIFTLINE for mount in mounts(name)} == {"/etc/driftline/driftline.yaml"}


def test_prometheus_takes_its_configuration_and_finds_every_process(tmp_path):
    for inside, outside in mounts("prometheus").items():
        assert inside.startswith("/etc/prometheus/")
        shutil.copy(outside, tmp_path / Path(inside).name)
    command = [program("promtool", "prometheus"), "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    content = read(FOLDER / "prometheus.yml")
    job = next(one for one in content["scrape_configs"] if one["job_name"] == "driftline")
    (asked,) = job["dns_sd_configs"]
    assert (set(asked["names"]), asked["port"]) == (DRIFTLINE - ONCE, 8420)
    (target,) = content["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert CONFIGURATION["receivers"]["alertmanager"]["url"] == f"http://{target}"


def test_alerts_on_models_come_from_driftline_alone():
    (dropped,) = read(FOLDER / "prometheus.yml")["alerting"]["alert_relabel_configs"]
    groups = read(ROOT / "deploy" / "prometheus" / "driftline.rules.yml")["groups"]
    (models,) = (group for group in groups if group["name"] == "driftline-models")
    assert dropped["regex"].split("|") == [rule["alert"] for rule in models["rules"]]


def test_alertmanager_takes_its_configuration():
    command = [program("amtool", "prometheus-alertmanager"), "check-config", str(FOLDER / "alertmanager.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_prometheus_and_the_dashboards():
    (source,) = read(FOLDER / "grafana" / "datasources" / "prometheus.yml")["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == (
        "prometheus",
        "http://prometheus:9090",
        True,
    )
    (provider,) = read(FOLDER / "grafana" / "dashboards" / "driftline.yml")["providers"]
    dashboards = mounts("grafana")[provider["options"]["path"]]
    assert dashboards == ROOT / "deploy" / "grafana" / "dashboards"
    for path in dashboards.iterdir():
        variables = json.loads(path.read_text())["templating"]["list"]
        assert [one["query"] for one in variables if one["type"] == "datasource"] == [source["type"]]
    provisioned = {path for path in mounts("grafana") if path.startswith("/etc/grafana/provisioning/")}
    assert provisioned == {f"/etc/grafana/provisioning/{kind}" for kind in ("datasources", "dashboards")}


def test_the_page_names_what_is_there():
    page = (ROOT / "docs" / "install.md").read_text()
    for port in (one.split(":")[1] for service in SERVICES.values() for one in service.get("ports", [])):
        assert f"127.0.0.1:{port}" in page
    for path in set(re.findall(r"\bdeploy/[\w./-]+\w", page)):
        assert (ROOT / path).exists() or path.startswith("deploy/compose/secrets"), path
    assert os.access(FOLDER / "secrets.sh", os.X_OK)
