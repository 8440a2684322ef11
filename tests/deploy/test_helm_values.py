"""Values of the chart: wrong ones are refused with where and why; what comes out is a right configuration."""

import json
from typing import Any

import pytest
from ruamel.yaml import YAML

from monitor.cli import run
from monitor.config import examine
from monitor.logs import FORMATS, LEVELS
from tests.deploy.helm.chart import (
    CHART,
    ROLES,
    RefusedError,
    container,
    environment,
    of_kind,
    render,
    render_changed,
    templates,
)

CONFIGURED = ("minimum", "everything", "sign-in", "secured-kafka")
SECRET = (
    "postgresql+psycopg://driftline@db/driftline"  # any will do; this one is a database's address as well
)

WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "an unknown value": ({"replica": 2}, ["replica"]),
    "an unknown value of a role": ({"ingest": {"replica": 2}}, ["/ingest", "replica"]),
    "another type": ({"web": {"replicas": "two"}}, ["/web/replicas", "integer"]),
    "too little time to leave": (
        {"ingest": {"terminationGracePeriodSeconds": 5}},
        ["/ingest/terminationGracePeriodSeconds", "15"],
    ),
    "a secret as a value": ({"secretEnv": {"PASSWORD": "hunter2"}}, ["/secretEnv/PASSWORD", "object"]),
    "no pods at all": ({"ingest": {"autoscaling": {"minReplicas": 0}}}, ["minReplicas", "1"]),
    "another mechanism": ({"ingest": {"autoscaling": {"sasl": "kerberos"}}}, ["sasl", "scram_sha512"]),
    "a tag as a digest": ({"image": {"digest": "latest"}}, ["/image/digest", "sha256"]),
    "root": ({"securityContext": {"runAsUser": 0}}, ["/securityContext/runAsUser", "1"]),
    "a port of the system": ({"port": 80}, ["/port", "minimum"]),
    "a quantity that is none": (
        {"web": {"resources": {"limits": {"memory": "much"}}}},
        ["/web/resources/limits/memory"],
    ),
    "fewer at most than at least": (
        {"evaluate": {"autoscaling": {"enabled": True, "minReplicas": 5}}},
        ["evaluate.autoscaling.minReplicas: 5 is more than maxReplicas, 4"],
    ),
    "no image": ({"image": {"repository": ""}}, ["image.repository: is required"]),
    "no configuration": ({"config": None}, ["config: is required", "existingConfigMap.name"]),
    "two configurations": ({"existingConfigMap": {"name": "other"}}, ["stands beside config"]),
    "text that is no YAML": ({"config": "a: [b"}, ["config: is not YAML"]),
    "nobody signs in": (
        {"config": {"http": {"allow_anonymous": False}}},
        ["config.http", "sign_in", "allow_anonymous"],
    ),
    "only the pod itself": (
        {"config": {"http": {"host": "127.0.0.1"}}},
        ["config.http.host", "(use 0.0.0.0)"],
    ),
    "SQLite": ({"config": {"database_url": "sqlite:///a.db"}}, ["config.database_url", "PostgreSQL"]),
    "a secret that no pod has": (
        {"config": {"kafka": {"options": {"sasl.password_env": "KAFKA_PASSWORD"}}}},
        ["config.kafka.options.sasl.password_env", "KAFKA_PASSWORD", "secretEnv"],
    ),
    "a receiver's secret that no evaluator has": (
        {"config": {"receivers": {"oncall": {"token_env": "SLACK_BOT_TOKEN"}}}},
        ["config.receivers.oncall.token_env", "evaluate.secretEnv"],
    ),
    "a secret for the wrong role": (
        {
            "config": {"http": {"mlflow": {"secret_env": "HOOK"}}},
            "evaluate": {"secretEnv": {"HOOK": {"name": "a", "key": "b"}}},
        },
        ["config.http.mlflow.secret_env", "HOOK"],
    ),
    "a secret among plain variables": (
        {"env": {"DRIFTLINE_DATABASE_URL": "postgresql://a:b@c/d"}},
        ["env.DRIFTLINE_DATABASE_URL", "secretEnv"],
    ),
    "a file that is not mounted": (
        {"config": {"registry": {"url": "https://r", "password_file": "/var/run/registry/password"}}},
        ["config.registry.password_file", "/var/run/registry/password", "secretFiles"],
    ),
    "a certificate that is not mounted": (
        {"config": {"kafka": {"options": {"ssl.ca.location": "/var/run/kafka/ca.crt"}}}},
        ["config.kafka.options.ssl.ca.location", "/var/run/kafka/ca.crt", "secretFiles"],
    ),
    "a reference that is not mounted": (
        {"config": {"models": {"churn": {"reference": {"file": "/references/churn.parquet"}}}}},
        ["config.models.churn.reference.file", "/references/churn.parquet", "extraVolumes"],
    ),
    "headers for spans that no pod has": (
        {"config": {"tracing": {"endpoint": "http://collector:4318", "headers_env": "SPANS"}}},
        ["config.tracing.headers_env", "SPANS", "secretEnv"],
    ),
    "files over the configuration": (
        {"secretFiles": [{"secretName": "a", "mountPath": "/etc/driftline/secrets"}]},
        ["/etc/driftline/secrets"],
    ),
    "scrapes without a token": (
        {"podMonitor": {"enabled": True}, "config": {"http": {"metrics_need_token": True}}},
        ["podMonitor.tokenSecret.name"],
    ),
    "an Ingress without a host": ({"ingress": {"enabled": True}}, ["ingress.host: is required"]),
    "KEDA without TLS": (
        {
            "ingest": {"autoscaling": {"enabled": True}},
            "config": {"kafka": {"options": {"security.protocol": "SSL"}}},
        },
        ["ingest.autoscaling.tls"],
    ),
    "KEDA that does not sign in": (
        {"ingest": {"autoscaling": {"enabled": True, "sasl": "plaintext"}}},
        ["ingest.autoscaling.authentication"],
    ),
}  # fmt: skip


def configuration_of(manifests, folder):
    """The configuration that all pods see, as a file."""
    (volume,) = (one for one in templates(manifests)["web"]["spec"]["volumes"] if one["name"] == "config")
    path = folder / "driftline.yaml"
    path.write_text(of_kind(manifests, "ConfigMap")[volume["configMap"]["name"]]["data"]["driftline.yaml"])
    return path


@pytest.mark.parametrize("name", CONFIGURED)
def test_the_configuration_is_a_right_one_and_every_role_has_its_secrets(name, tmp_path, capsys):
    manifests = render(name)
    path = configuration_of(manifests, tmp_path)
    assert run(["check", "--config", str(path)]) == 0, capsys.readouterr().err
    configuration, problems = examine(str(path))
    assert problems == []
    for role in ROLES:
        template = templates(manifests)[role]
        environ = dict.fromkeys(environment(template), SECRET)
        folders = [one["mountPath"] for one in container(template)["volumeMounts"]]
        missing = [
            problem
            for problem in configuration.secret_problems(environ)
            if (role == "evaluate" or problem.path[0] != "receivers")
            and not any(f"{folder}/" in problem.message for folder in folders)
        ]
        assert missing == []


def test_the_upgrade_sees_the_same_configuration():
    maps = of_kind(render("everything"), "ConfigMap")
    assert maps["watch"]["data"] == maps["watch-migrate"]["data"]


def test_numbers_and_times_stay_what_they_are(tmp_path):
    config = {"ingest": {"commit_events": 10_000_000}, "defaults": {"tolerance_psi": 0.01, "slice": "5m"}}
    path = configuration_of(render_changed("minimum", tmp_path, config=config), tmp_path)
    read = YAML(typ="safe").load(path)
    assert {name: read[name] for name in config} == config
    assert read["http"]["host"] == "0.0.0.0"  # noqa: S104


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_work_is_refused_with_where_and_why(case, tmp_path):
    values, words = WRONG[case]
    with pytest.raises(RefusedError) as refused:
        render_changed("minimum", tmp_path, **values)
    assert [word for word in words if word not in str(refused.value)] == []


def test_the_schema_takes_what_driftline_takes():
    log = json.loads((CHART / "values.schema.json").read_text())["properties"]["log"]["properties"]
    assert tuple(log["level"]["enum"]) == LEVELS
    assert tuple(log["format"]["enum"]) == FORMATS


def untold(schema, definitions, place=""):
    """Places in a schema where a mapping takes unknown keys, or a value has no description."""
    for name, part in schema["properties"].items():
        if "description" not in part:
            yield f"{place}{name}"
        target = definitions[part["$ref"].rpartition("/")[2]] if "$ref" in part else part
        if "properties" in target:
            if target.get("additionalProperties") is not False:
                yield f"{place}{name}"
            yield from untold(target, definitions, f"{place}{name}.")


def test_the_schema_knows_every_value_and_says_what_it_means():
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert schema["additionalProperties"] is False
    assert list(untold(schema, schema["definitions"])) == []
    assert schema["properties"].keys() - YAML(typ="safe").load(CHART / "values.yaml").keys() == {"global"}
