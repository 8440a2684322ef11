"""What of the chart works together: who selects whom, who scales what, what runs first, who reaches whom."""

import pytest
from ruamel.yaml import YAML

from tests.deploy.helm.chart import ROLES, ROOT, container, of_kind, render, render_changed, templates

IDENTITY = ("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component")


@pytest.fixture(scope="module")
def everything():
    return render("everything")


@pytest.fixture(scope="module")
def minimum():
    return render("minimum")


def labels_of(manifests, component):
    return templates(manifests)[component]["metadata"]["labels"]


def selected(manifests, labels):
    """Components whose pods have all of some labels."""
    return {
        component
        for component, template in templates(manifests).items()
        if labels.items() <= template["metadata"]["labels"].items()
    }


def ports(rule):
    return {(port["protocol"], port["port"]) for port in rule["ports"]}


def policies(manifests):
    return {name.rpartition("-")[2]: one["spec"] for name, one in of_kind(manifests, "NetworkPolicy").items()}


def test_everything_selects_the_pods_that_it_is_about(everything):
    for one in everything:
        spec, component = one.get("spec", {}), one["metadata"]["labels"].get("app.kubernetes.io/component")
        if one["kind"] in ("Deployment", "PodDisruptionBudget"):
            assert selected(everything, spec["selector"]["matchLabels"]) == {component}
        elif one["kind"] == "Service":
            assert selected(everything, spec["selector"]) == {"web"}
        elif one["kind"] == "NetworkPolicy":
            assert selected(everything, spec["podSelector"]["matchLabels"]) == {component}
    assert set(of_kind(everything, "PodDisruptionBudget")) == {"watch-ingest", "watch-evaluate", "watch-web"}


def test_selectors_are_what_never_changes(everything):
    for one in of_kind(everything, "Deployment").values():
        assert tuple(one["spec"]["selector"]["matchLabels"]) == IDENTITY


def test_one_pod_has_no_budget_that_would_keep_its_node_from_being_drained(minimum):
    assert of_kind(minimum, "PodDisruptionBudget") == {}
    assert set(of_kind(render("sign-in"), "PodDisruptionBudget")) == {"models-driftline-web"}


def test_prometheus_scrapes_the_port_of_every_role_under_a_job_that_the_rules_know(everything):
    (monitor,) = of_kind(everything, "PodMonitor").values()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    (expression,) = monitor["spec"]["selector"]["matchExpressions"]
    assert selected(everything, monitor["spec"]["selector"]["matchLabels"]) == {*ROLES, "migrate"}
    assert (expression["operator"], set(expression["values"])) == ("In", set(ROLES))
    for role in ROLES:
        assert endpoint["port"] in {port["name"] for port in container(templates(everything)[role])["ports"]}
        assert "driftline" in labels_of(everything, role)[monitor["spec"]["jobLabel"]]


def test_the_rules_for_prometheus_are_those_of_the_repository(everything):
    (rule,) = of_kind(everything, "PrometheusRule").values()
    assert rule["spec"] == YAML(typ="safe").load(ROOT / "deploy" / "prometheus" / "driftline.rules.yml")


def test_grafana_gets_all_dashboards(everything):
    boards = of_kind(everything, "ConfigMap")["watch-dashboards"]
    folder = ROOT / "deploy" / "grafana" / "dashboards"
    assert boards["data"].keys() == {f"driftline-{path.name}" for path in folder.glob("*.json")}
    for path in folder.glob("*.json"):
        assert boards["data"][f"driftline-{path.name}"].strip() == path.read_text().strip()
    assert boards["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_what_scales_a_role_is_alone_in_saying_how_many(everything, minimum):
    deployments = of_kind(everything, "Deployment")
    assert "replicas" not in deployments["watch-ingest"]["spec"]
    assert "replicas" not in deployments["watch-evaluate"]["spec"]
    assert deployments["watch-web"]["spec"]["replicas"] == 2
    assert {one["spec"]["replicas"] for one in of_kind(minimum, "Deployment").values()} == {1}
    scaled = of_kind(everything, "ScaledObject")["watch-ingest"]["spec"]
    assert scaled["scaleTargetRef"] == {"name": "watch-ingest"}
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (2, 12)
    pods = of_kind(everything, "HorizontalPodAutoscaler")["watch-evaluate"]["spec"]
    assert pods["scaleTargetRef"]["name"] == "watch-evaluate"


def test_keda_looks_at_the_lag_of_the_group_that_ingest_commits_for(everything):
    triggers = of_kind(everything, "ScaledObject")["watch-ingest"]["spec"]["triggers"]
    assert [trigger["metadata"]["topic"] for trigger in triggers] == ["scores", "outcomes"]
    for trigger in triggers:
        assert trigger["type"] == "kafka"
        assert (
            trigger["metadata"].items()
            >= {
                "bootstrapServers": "kafka-0.example.org:9093,kafka-1.example.org:9094",
                "consumerGroup": "drift",
                "offsetResetPolicy": "latest",
                "lagThreshold": "1000000",
            }.items()
        )
        assert all(isinstance(value, str) for value in trigger["metadata"].values())


def test_keda_signs_in_by_reference():
    manifests = render("secured-kafka")
    (scaled,) = of_kind(manifests, "ScaledObject").values()
    (authentication,) = of_kind(manifests, "TriggerAuthentication").values()
    for trigger in scaled["spec"]["triggers"]:
        assert trigger["metadata"].items() >= {"tls": "enable", "sasl": "scram_sha512"}.items()
        assert trigger["authenticationRef"] == {"name": authentication["metadata"]["name"]}
    assert [one["parameter"] for one in authentication["spec"]["secretTargetRef"]] == [
        "username", "password", "ca"
    ]  # fmt: skip


def test_a_configuration_of_its_own_leaves_keda_to_the_values():
    (scaled,) = of_kind(render("existing"), "ScaledObject").values()
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["metadata"].items() >= {
        "bootstrapServers": "kafka.streaming.svc:9092", "topic": "flights.predictions",
        "consumerGroup": "driftline", "offsetResetPolicy": "earliest",
    }.items()  # fmt: skip


@pytest.mark.parametrize("name", ["minimum", "everything", "existing"])
def test_the_database_is_upgraded_before_anything_else_with_what_is_there_by_then(name):
    manifests = render(name)
    hooks = [one for one in manifests if "helm.sh/hook" in one["metadata"].get("annotations", {})]
    weight = {one["kind"]: int(one["metadata"]["annotations"]["helm.sh/hook-weight"]) for one in hooks}
    assert {one["metadata"]["annotations"]["helm.sh/hook"] for one in hooks} == {"pre-install,pre-upgrade"}
    assert max(weight, key=lambda kind: weight[kind]) == "Job"
    assert sum(one == weight["Job"] for one in weight.values()) == 1
    (job,) = (one for one in hooks if one["kind"] == "Job")
    pod = job["spec"]["template"]["spec"]
    there = {(one["kind"], one["metadata"]["name"]) for one in hooks}
    made = {(one["kind"], one["metadata"]["name"]) for one in manifests} - there
    (volume,) = (one for one in pod["volumes"] if one["name"] == "config")
    for needed in (("ConfigMap", volume["configMap"]["name"]), ("ServiceAccount", pod["serviceAccountName"])):
        assert needed not in made
        assert (needed in there) == (name != "existing")


def test_the_job_is_left_out_on_request(tmp_path):
    manifests = render_changed("minimum", tmp_path, migrate={"enabled": False})
    assert set(templates(manifests)) == set(ROLES)
    assert not [one for one in manifests if "helm.sh/hook" in one["metadata"].get("annotations", {})]


def test_an_ingester_leaves_before_the_next_one_comes(minimum):
    steps = {
        name: one["spec"]["strategy"]["rollingUpdate"] for name, one in of_kind(minimum, "Deployment").items()
    }
    assert steps["models-driftline-ingest"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert steps["models-driftline-web"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_pods_reach_what_their_role_needs(everything):
    found = policies(everything)
    reached = {role: set().union(*map(ports, spec["egress"])) for role, spec in found.items()}
    always = {("UDP", 53), ("TCP", 53), ("TCP", 5432), ("TCP", 6432), ("TCP", 3128)}
    brokers, registry, https = {("TCP", 9093), ("TCP", 9094)}, {("TCP", 8081)}, {("TCP", 443)}
    receivers = https | {("TCP", 8443), ("TCP", 465), ("TCP", 80)}
    spans = {("TCP", 4318)}
    assert reached == {
        "ingest": always | brokers | registry | spans,
        "evaluate": always | brokers | receivers | spans,
        "web": always | brokers | registry | https | spans,
        "migrate": always,
    }
    assert all(spec["policyTypes"] == ["Ingress", "Egress"] for spec in found.values())


def test_pods_reach_who_gives_tokens_for_kafka(tmp_path):
    login = {
        "sasl.oauthbearer.token.endpoint.url": "https://login.example.org:8443/token",
        "ssl.ca.location": "/etc/ssl/certs/ca-certificates.crt",  # the image has it
    }
    manifests = render_changed("minimum", tmp_path, config={"kafka": {"options": login}})
    for role, spec in policies(manifests).items():
        is_reached = ("TCP", 8443) in set().union(*map(ports, spec["egress"]))
        assert is_reached == (role != "migrate")


def test_pods_are_reached_by_those_who_were_named(everything, minimum, tmp_path):
    found = policies(everything)
    assert len(found["web"]["ingress"][0]["from"]) == 2
    assert len(found["ingest"]["ingress"][0]["from"]) == 1
    assert "ingress" not in found["migrate"]
    for role in ROLES:
        assert ports(found[role]["ingress"][0]) == {("TCP", "http")}
        assert "from" not in policies(minimum)[role]["ingress"][0]
    open_to_scrapers = render_changed("everything", tmp_path, networkPolicy={"ingress": {"metrics": []}})
    assert "from" not in policies(open_to_scrapers)["web"]["ingress"][0]


def test_the_ingress_leads_to_the_service():
    manifests = render("sign-in")
    (ingress,), (service,) = (of_kind(manifests, kind).values() for kind in ("Ingress", "Service"))
    (rule,) = ingress["spec"]["rules"]
    assert ingress["spec"]["tls"] == [{"hosts": [rule["host"]], "secretName": "driftline-tls"}]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert backend["name"] == service["metadata"]["name"]
    assert backend["port"]["name"] == service["spec"]["ports"][0]["name"]
