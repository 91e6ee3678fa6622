"""What the chart makes of its values: the first things that a platform engineer looks at."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import kubernetes_validate
import pytest

from chart_values import GATEWAY, GROUPED, IMAGE, SETS, SMALL, STATIC, WHOLE
from helm_kit import Refused, of_kind, pods, render


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
        (port,) = [p["name"] for p in container["ports"] if p["name"] in ("health", "http")]
        probes = {name: container[f"{name}Probe"] for name in ("startup", "liveness", "readiness")}
        assert {probe["httpGet"]["port"] for probe in probes.values()} == {port}
        # A destination, a broker or a registry that is away is no reason to start a worker again.
        assert probes["liveness"]["httpGet"]["path"] == "/healthz"
        assert probes["readiness"]["httpGet"]["path"] == "/readyz"
        assert workload["spec"]["revisionHistoryLimit"] == 5


def test_what_is_under_way_has_time_within_the_grace_period(objects: list[dict[str, Any]]) -> None:
    """All but 15 s, of which the last commit has some; and who has a Service is still sent to for
    5 s, which Kubernetes counts, too."""
    for workload in of_kind(objects, "Deployment", "StatefulSet"):
        spec = workload["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        served = container["name"] == "gateway" or len(container["ports"]) > 1
        waits = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
        assert waits == (["sleep", "5"] if served and container["name"] != "scaler" else None)
        if container["name"] == "worker":
            left = spec["terminationGracePeriodSeconds"] - (5 if served else 0)
            assert _variable(workload, "TRUNKLINE_DRAIN") == {"value": f"{left - 15}s"}


def test_no_worker_drains_longer_than_its_consumer_may_be_silent() -> None:
    (one,) = of_kind(render({**SMALL, "worker": {"gracePeriodSeconds": 285}}), "Deployment")
    assert _variable(one, "TRUNKLINE_DRAIN") == {"value": "240s"}


def test_each_container_gets_what_every_container_gets() -> None:
    """The secret by reference, more variables, and the registry's password: jobs, too."""
    for mode in ("hook", "job"):
        found = pods(render({**GATEWAY, "apply": {"mode": mode}}))
        assert len(found) == 6
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


def test_static_members_keep_their_names() -> None:
    """As ``<release>-<flow>-<ordinal>``: what a pod is called is what its consumers are called."""
    (one,) = of_kind(render(STATIC), *WORKLOADS)
    assert (one["kind"], one["metadata"]["name"]) == ("StatefulSet", "r-orders")
    assert one["spec"]["podManagementPolicy"] == "Parallel"
    assert "volumeClaimTemplates" not in one["spec"]
    id = _variable(one, "TRUNKLINE_KAFKA__GROUP_INSTANCE_ID")
    assert id == {"valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    assert not any("GROUP_INSTANCE_ID" in str(o) for o in render(SMALL))


@pytest.mark.parametrize(
    "given",
    [
        {"environment": {"file": {"trunkline": {"kafka": {"group.instance.id": "a"}}}}},
        {"environment": {"file": {"trunkline": {"kafka": {"group": {"instance": {"id": "a"}}}}}}},
        {"extraEnv": [{"name": "TRUNKLINE_KAFKA__GROUP_INSTANCE_ID", "value": "a"}]},
        {"worker": {"extraEnv": [{"name": "TRUNKLINE_KAFKA__GROUP_INSTANCE_ID", "value": "a"}]}},
    ],
)
@pytest.mark.parametrize("values", [SMALL, STATIC], ids=["dynamic", "static"])
def test_an_instance_of_the_group_is_no_name_of_all_pods(
    values: dict[str, Any], given: dict[str, Any]
) -> None:
    """Kafka lets one member of a name live: each new pod would end the one before."""
    worker = {**values.get("worker", {}), **given.get("worker", {})}
    with pytest.raises(Refused, match=r"group\.instance\.id would be the same for all pods"):
        render({**values, **given, "worker": worker})


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


def test_the_gateway_is_a_deployment_with_all_that_belongs_to_it() -> None:
    objects = {(o["kind"], o["metadata"]["name"]): o for o in render(GATEWAY)}
    workload = objects["Deployment", "r-gateway"]
    assert _arguments(workload)[:6] == [
        *("gateway", "flows/orders.py", "--env", "prod"),
        *("--access", "/etc/trunkline/access/access.toml"),
    ]
    spec = workload["spec"]["template"]["spec"]
    (secret,) = [v["secret"] for v in spec["volumes"] if v["name"] == "access"]
    (mount,) = [m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "access"]
    assert (secret, mount["mountPath"]) == ({"secretName": "access"}, "/etc/trunkline/access")
    assert "subPath" not in mount  # a key that is revoked must reach the pod
    chosen = workload["spec"]["selector"]["matchLabels"]
    service = objects["Service", "r-gateway"]["spec"]
    assert (service["type"], service["selector"]) == ("ClusterIP", chosen)
    assert objects["PodDisruptionBudget", "r-gateway"]["spec"]["selector"]["matchLabels"] == chosen
    policy = objects["NetworkPolicy", "r-gateway"]["spec"]
    assert policy["podSelector"]["matchLabels"] == chosen
    (rule,) = policy["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": "http"}]
    assert rule["from"] == [
        *GATEWAY["gateway"]["from"],
        *GATEWAY["networkPolicy"]["metricsFrom"],
    ]


def test_the_ingress_passes_what_asks_for_a_key() -> None:
    """The health pages and the metrics ask for none."""
    (ingress,) = of_kind(render(GATEWAY), "Ingress")
    (rule,) = ingress["spec"]["rules"]
    assert rule["host"] == "api.example.com"
    assert ingress["spec"]["tls"] == [
        {"hosts": ["api.example.com"], "secretName": "api-certificate"}
    ]
    paths = [(path["path"], path["pathType"]) for path in rule["http"]["paths"]]
    assert paths == [
        ("/v1", "Prefix"),
        ("/openapi.json", "Exact"),
        ("/asyncapi.json", "Exact"),
        ("/problems", "Prefix"),
    ]
    without = {**GATEWAY, "gateway": {**GATEWAY["gateway"], "ingress": {"enabled": False}}}
    assert not of_kind(render(without), "Ingress")


def test_the_gateway_of_no_flow_named_serves_all_flows() -> None:
    values = {**GROUPED, "gateway": {"enabled": True, "access": {"secret": "access"}}}
    (one,) = [
        o for o in of_kind(render(values), "Deployment") if "gateway" in o["metadata"]["name"]
    ]
    files = [argument for argument in _arguments(one) if argument.endswith(".py")]
    assert files == [f"flows/{name}.py" for name in sorted(GROUPED["flows"])]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"access": {}}, "gateway.access.secret: name the Secret with access.toml"),
        ({"flows": ["orders", "erp"]}, "gateway.flows: there is no flows.erp"),
        ({"ingress": {"enabled": True}}, "gateway.ingress.host: name the host"),
    ],
)
def test_a_gateway_that_cannot_be_is_told(given: dict[str, Any], said: str) -> None:
    gateway = {"enabled": True, "access": {"secret": "access"}, **given}
    with pytest.raises(Refused, match=re.escape(said)):
        render({**SMALL, "gateway": gateway})


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


def _variable(workload: dict[str, Any], name: str) -> dict[str, Any]:
    """What a container's variable is, without its name."""
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    (found,) = [entry for entry in container["env"] if entry["name"] == name]
    return {key: value for key, value in found.items() if key != "name"}
