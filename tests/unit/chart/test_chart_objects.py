"""What the chart makes of its values: the first things that a platform engineer looks at."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import kubernetes_validate
import pytest

from helm_kit import Refused, of_kind, pods, render

IMAGE = {"image": {"repository": "registry.example.com/acme/flows", "digest": f"sha256:{'a' * 64}"}}
FILE = {
    "trunkline": {"bootstrap": "kafka:9093", "kafka": {"security.protocol": "SASL_SSL"}},
    "params": {"orders": {"crm_url": "https://crm.example.com"}},
}
SMALL = {**IMAGE, "flows": {"orders": {"file": "flows/orders.py"}}}
WHOLE: dict[str, Any] = {
    **IMAGE,
    "imagePullSecrets": [{"name": "pull"}],
    "environment": {"name": "prod", "file": FILE},
    "secrets": {"TRUNKLINE_PARAMS_CRM_TOKEN": {"name": "crm", "key": "token"}},
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "extraEnvFrom": [{"secretRef": {"name": "systems"}}],
    "commonLabels": {"team": "integration"},
    "metrics": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True},
    },
    "networkPolicy": {"egressPorts": [9093, 443, 5432]},
    "extraObjects": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-more"}}
    ],
    "flows": {
        "orders": {
            "file": "flows/orders.py",
            "workers": {
                "source": {"steps": ["source"], "ports": {"notices": 8085}},
                "route": {"steps": ["route"], "replicas": 2, "data": {"size": "10Gi"}},
                "deliver": {"steps": ["deliver"], "replicas": 3, "gracePeriodSeconds": 120},
            },
        },
        "airport": {"file": "flows/airport.py"},
    },
}
AGENT = {
    **IMAGE,
    "environment": {"name": "plant-7"},
    "flows": {"orders": {"file": "flows/orders.py", "workers": {"source": {"steps": ["source"]}}}},
    "worker": {"nodeSelector": {"site": "plant-7"}, "tolerations": [{"operator": "Exists"}]},
    "serviceAccount": {"create": False},
}
GROUPED: dict[str, Any] = {
    **IMAGE,
    "flows": {
        "orders": {"file": "flows/orders.py"},
        "crm": {"file": "flows/crm.py", "group": "small"},
        "notices": {"file": "flows/notices.py", "group": "small"},
        "returns": {"file": "flows/returns.py", "group": "other"},
    },
    "groups": {
        "small": {"replicas": 2, "ports": {"notices": 8085}, "steps": ["route", "deliver"]},
        "other": {},
    },
}
SCALED: dict[str, Any] = {
    **WHOLE,
    "networkPolicy": {**WHOLE["networkPolicy"], "metricsFrom": [{"podSelector": {}}]},
    "worker": {"scaling": {"enabled": True, "min": 1}},
}
SETS = {
    "grouped": GROUPED,
    "scaled": {**SCALED, "flows": {"airport": {"file": "flows/airport.py"}}},
    "small": SMALL,
    "whole, hook": {**WHOLE, "apply": {"mode": "hook"}},
    "whole, job": {**WHOLE, "apply": {"mode": "job"}},
    "agent": AGENT,
}


@pytest.fixture(scope="module", params=SETS)
def objects(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """The objects of each set of values in turn."""
    return render(SETS[request.param])


@pytest.mark.parametrize("version", ["1.27", "1.36"])
def test_kubernetes_knows_each_field(objects: list[dict[str, Any]], version: str) -> None:
    foreign = ("monitoring.coreos.com", "keda.sh")
    own = [found for found in objects if not found["apiVersion"].startswith(foreign)]
    assert own
    for found in own:
        kubernetes_validate.validate(found, version, strict=True)


def test_each_object_is_labelled_and_in_the_namespace(objects: list[dict[str, Any]]) -> None:
    for found in objects:
        if found["metadata"]["name"] == "r-more":  # an extra object, as it was written
            continue
        labels = found["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "trunkline"
        assert labels["app.kubernetes.io/instance"] == "r"
        assert found["metadata"]["namespace"] == "prod"
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", found["metadata"]["name"])


def test_selectors_choose_the_pods_of_their_own_workload(objects: list[dict[str, Any]]) -> None:
    workloads = of_kind(objects, "Deployment", "StatefulSet")
    for one in workloads:
        chosen = [
            other["metadata"]["name"]
            for other in workloads
            if _chooses(one["spec"]["selector"]["matchLabels"], other)
        ]
        assert chosen == [one["metadata"]["name"]]
    for budget in of_kind(objects, "PodDisruptionBudget"):
        assert [w for w in workloads if _chooses(budget["spec"]["selector"]["matchLabels"], w)]


def test_pods_are_restricted(objects: list[dict[str, Any]]) -> None:
    """As the Pod Security Standards' level "restricted" asks, workers and jobs alike."""
    for pod in pods(objects):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            resources = container["resources"]
            assert resources["requests"]["cpu"]
            assert resources["limits"]["memory"] == resources["requests"]["memory"]
            assert container["image"].endswith(f"@sha256:{'a' * 64}")
            assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/tmp", "/data"}


def test_nothing_asks_for_rights_in_the_cluster(objects: list[dict[str, Any]]) -> None:
    assert not [found for found in objects if "Role" in found["kind"]]


def test_probes_use_the_health_port_alone(objects: list[dict[str, Any]]) -> None:
    for workload in of_kind(objects, "Deployment", "StatefulSet"):
        (container,) = workload["spec"]["template"]["spec"]["containers"]
        probes = {name: container[f"{name}Probe"] for name in ("startup", "liveness", "readiness")}
        assert {probe["httpGet"]["port"] for probe in probes.values()} == {"health"}
        # A destination, a broker or a registry that is away is no reason to start a worker again.
        assert probes["liveness"]["httpGet"]["path"] == "/healthz"
        assert probes["readiness"]["httpGet"]["path"] == "/readyz"
        assert workload["spec"]["revisionHistoryLimit"] == 5


def test_deliveries_have_time_within_the_grace_period(objects: list[dict[str, Any]]) -> None:
    for workload in of_kind(objects, "Deployment", "StatefulSet"):
        spec = workload["spec"]["template"]["spec"]
        if spec["containers"][0]["name"] != "worker":
            continue
        arguments = spec["containers"][0]["args"]
        drain = arguments[arguments.index("--drain") + 1]
        assert int(drain.removesuffix("s")) == spec["terminationGracePeriodSeconds"] - 45


def test_each_container_gets_what_every_container_gets() -> None:
    """The secret by reference, more variables, and the registry's password: jobs, too."""
    for mode in ("hook", "job"):
        found = pods(render({**WHOLE, "apply": {"mode": mode}}))
        assert len(found) == 5
        for pod in found:
            assert pod["spec"]["imagePullSecrets"] == [{"name": "pull"}]
            (container,) = pod["spec"]["containers"]
            env = {entry["name"]: entry for entry in container["env"]}
            reference = env["TRUNKLINE_PARAMS_CRM_TOKEN"]["valueFrom"]["secretKeyRef"]
            assert reference == {"name": "crm", "key": "token"}
            assert env["HTTPS_PROXY"]["value"] == "http://proxy:3128"
            assert container["envFrom"] == [{"secretRef": {"name": "systems"}}]


def test_a_worker_says_only_what_is_its_own() -> None:
    workloads = {w["metadata"]["name"]: w for w in render(WHOLE) if w["kind"] in WORKLOADS}
    assert {name: w["kind"] for name, w in workloads.items()} == {
        "r-airport": "Deployment",
        "r-orders-source": "Deployment",
        "r-orders-route": "StatefulSet",  # its tables keep a disk
        "r-orders-deliver": "Deployment",
    }
    assert [w["spec"]["replicas"] for w in workloads.values()].count(1) == 2
    assert _arguments(workloads["r-airport"])[:5] == [
        *("run", "flows/airport.py", "--env", "prod", "--only"),
    ]
    assert _option(workloads["r-airport"], "--only") == "source,route,deliver"
    assert _option(workloads["r-orders-route"], "--only") == "route"
    (claim,) = workloads["r-orders-route"]["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "10Gi"


WORKLOADS = ("Deployment", "StatefulSet")


def test_flows_of_a_group_share_a_workload() -> None:
    objects = render(GROUPED)
    workloads = {w["metadata"]["name"]: w for w in of_kind(objects, *WORKLOADS)}
    assert set(workloads) == {"r-orders", "r-small", "r-other"}
    small = workloads["r-small"]
    assert _arguments(small)[:5] == ["run", "flows/crm.py", "flows/notices.py", "--env", "prod"]
    assert _option(small, "--only") == "route,deliver"
    assert small["spec"]["replicas"] == 2
    assert small["metadata"]["labels"]["trunkline/group"] == "small"
    assert "trunkline/flow" not in small["metadata"]["labels"]
    assert _arguments(workloads["r-other"])[:3] == ["run", "flows/returns.py", "--env"]
    (budget,) = of_kind(objects, "PodDisruptionBudget")
    assert budget["spec"]["selector"]["matchLabels"]["trunkline/group"] == "small"
    (service,) = [s for s in of_kind(objects, "Service") if s["spec"].get("clusterIP") != "None"]
    assert service["spec"]["selector"]["trunkline/group"] == "small"


def test_all_flows_of_groups_are_applied() -> None:
    (job,) = of_kind(render({**GROUPED, "apply": {"mode": "job"}}), "Job")
    arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {a for a in arguments if a.endswith(".py")} == {
        f"flows/{name}.py" for name in GROUPED["flows"]
    }


@pytest.mark.parametrize(
    ("flows", "groups", "said"),
    [
        ({"crm": {"file": "crm.py", "group": "smal"}}, {}, "flows.crm.group: there is no groups"),
        ({"crm": {"file": "crm.py"}}, {"small": {}}, "groups.small: no flow is in it"),
        (
            {"crm": {"file": "crm.py", "group": "small", "workers": {"all": {}}}},
            {"small": {}},
            "flows.crm: a flow of a group has no workers of its own: groups.small says how",
        ),
        (
            {"crm": {"file": "crm.py"}, "b": {"file": "b.py", "group": "crm"}},
            {"crm": {}},
            "groups.crm and flows.crm, worker all would both be r-crm: rename one of them",
        ),
    ],
)
def test_a_group_that_cannot_be_is_told(
    flows: dict[str, Any], groups: dict[str, Any], said: str
) -> None:
    with pytest.raises(Refused, match=re.escape(said)):
        render({**IMAGE, "flows": flows, "groups": groups})


def test_a_changed_environment_rolls_the_workers_and_a_changed_chart_does_not() -> None:
    before, after = render(WHOLE), render({**WHOLE, "environment": {"name": "prod", "file": {}}})
    sums = [
        {pod["metadata"]["annotations"]["checksum/config"] for pod in pods(found)}
        for found in (before, after)
    ]
    assert len(sums[0]) == len(sums[1]) == 1
    assert sums[0] != sums[1]
    assert not any("helm.sh/chart" in pod["metadata"]["labels"] for pod in pods(before))


def test_no_object_of_running_pods_is_a_hook(objects: list[dict[str, Any]]) -> None:
    """Hooks are deleted and made anew with each sync: what running pods mount must be none."""
    hooks = [o for o in objects if "helm.sh/hook" in o["metadata"].get("annotations", {})]
    used: set[str] = set()
    for workload in of_kind(objects, *WORKLOADS):
        spec = workload["spec"]["template"]["spec"]
        used |= {v["configMap"]["name"] for v in spec.get("volumes", []) if "configMap" in v}
        used.add(spec["serviceAccountName"])
    assert not used & {hook["metadata"]["name"] for hook in hooks}
    assert all(hook["kind"] in ("ConfigMap", "Job") for hook in hooks)


def test_the_hook_needs_nothing_of_the_release() -> None:
    objects = render({**WHOLE, "apply": {"mode": "hook"}})
    (job,) = of_kind(objects, "Job")
    spec = job["spec"]["template"]["spec"]
    mounted = {v["configMap"]["name"] for v in spec["volumes"] if "configMap" in v}
    copies = {m["metadata"]["name"]: m for m in of_kind(objects, "ConfigMap")}
    weights = [copies[name]["metadata"]["annotations"]["helm.sh/hook-weight"] for name in mounted]
    assert weights == ["-5"]  # it is there before the job
    assert copies["r-apply"]["data"] == copies["r-environment"]["data"]
    assert spec["serviceAccountName"] == "default"
    assert job["spec"]["activeDeadlineSeconds"] == 600
    assert job["spec"]["backoffLimit"] == 2


def test_a_job_has_another_name_when_it_does_something_else() -> None:
    """A job cannot be changed: "field is immutable" would end the second deployment."""

    def named(**values: Any) -> str:
        (job,) = of_kind(render({**WHOLE, **values, "apply": {"mode": "job"}}), "Job")
        return str(job["metadata"]["name"])

    assert named() == named()
    assert named() != named(environment={"name": "prod", "file": {"trunkline": {"partitions": 8}}})
    assert named() != named(image={"repository": "r.example.com/flows", "tag": "2"})


def test_the_network_is_closed_but_for_what_is_listed() -> None:
    (policy,) = of_kind(render(WHOLE), "NetworkPolicy")
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    into = [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]]
    assert into == ["health", 8085]
    out = [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]
    assert sorted(set(out)) == [53, 443, 5432, 9093]


def test_what_prometheus_is_to_see() -> None:
    objects = render(WHOLE)
    (monitor,) = of_kind(objects, "ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"]
    services = of_kind(objects, "Service")
    (chosen,) = [s for s in services if wanted.items() <= s["metadata"]["labels"].items()]
    assert chosen["metadata"]["name"] == "r-workers"
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    (rule,) = of_kind(objects, "PrometheusRule")
    assert {r["alert"] for group in rule["spec"]["groups"] for r in group["rules"]} >= {
        "TrunklineDeadLetters",
        "TrunklineWorkerDown",
    }


def test_extra_objects_are_templates() -> None:
    assert "r-more" in {o["metadata"]["name"] for o in of_kind(render(WHOLE), "ConfigMap")}


def test_an_image_must_be_named() -> None:
    with pytest.raises(Refused, match="name the image with your flows"):
        render({"flows": SMALL["flows"]})


def _chooses(labels: Mapping[str, str], workload: dict[str, Any]) -> bool:
    return bool(labels.items() <= workload["spec"]["template"]["metadata"]["labels"].items())


def _arguments(workload: dict[str, Any]) -> list[str]:
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return list(container["args"])


def _option(workload: dict[str, Any], name: str) -> str:
    arguments = _arguments(workload)
    return arguments[arguments.index(name) + 1]
