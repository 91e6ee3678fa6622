"""What the chart makes for KEDA: triggers that ask the scaler, the net beneath, and the scaler."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from cronsim import CronSim

from docs_pages import ROOT, blocks_of
from helm_kit import Refused, of_kind, render
from keda_kit import KedaScaling

IMAGE = {"image": {"repository": "registry.example.com/flows", "tag": "1"}}
FILES = {"orders": {"file": "flows/orders.py"}, "notices": {"file": "flows/notices.py"}}
WORKERS: dict[str, Any] = {
    "source": {"steps": ["source"]},
    "rest": {"steps": ["route", "deliver"], "replicas": 2, "scaling": {"enabled": True, "max": 12}},
}
VALUES: dict[str, Any] = {
    **IMAGE,
    "flows": {**FILES, "orders": {"file": "flows/orders.py", "workers": WORKERS}},
}


def scaled(**settings: Any) -> dict[str, Any]:
    """Values of one worker with scaling."""
    one = {"steps": ["deliver"], "scaling": {"enabled": True}, **settings}
    return {**IMAGE, "flows": {"orders": {"file": "flows/orders.py", "workers": {"all": one}}}}


def scaled_object(values: dict[str, Any]) -> dict[str, Any]:
    (found,) = of_kind(render(values), "ScaledObject")
    spec: dict[str, Any] = found["spec"]
    return spec


def test_without_scaling_there_is_no_scaler() -> None:
    objects = render({**IMAGE, "flows": FILES})
    assert not of_kind(objects, "ScaledObject")
    assert {w["metadata"]["name"] for w in of_kind(objects, "Deployment")} == {
        "r-orders",
        "r-notices",
    }


def test_a_trigger_asks_for_each_step_and_nothing_else() -> None:
    spec = scaled_object(VALUES)
    assert spec["scaleTargetRef"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "r-orders-rest",
    }
    asked = [t["metadata"] for t in spec["triggers"] if t["type"] == "external-push"]
    address = {"scalerAddress": "r-scaler.prod.svc:9090", "flow": "flows/orders.py"}
    assert asked == [{**address, "step": "route"}, {**address, "step": "deliver"}]
    bounds = {name: spec[name] for name in ("minReplicaCount", "maxReplicaCount")}
    assert bounds == {"minReplicaCount": 0, "maxReplicaCount": 12}
    assert (spec["pollingInterval"], spec["cooldownPeriod"]) == (15, 300)


def test_a_group_asks_for_each_of_its_flows() -> None:
    group = {"steps": ["route", "deliver"], "scaling": {"enabled": True}}
    flows = {name: {**about, "group": "small"} for name, about in FILES.items()}
    values = {**IMAGE, "flows": flows, "groups": {"small": group}}
    asked = [t["metadata"] for t in scaled_object(values)["triggers"][:-1]]
    assert {(one["flow"], one["step"]) for one in asked} == {
        (f"flows/{name}.py", step) for name in FILES for step in ("route", "deliver")
    }
    (scaler,) = [
        d for d in of_kind(render(values), "Deployment") if "scaler" in d["metadata"]["name"]
    ]
    arguments = scaler["spec"]["template"]["spec"]["containers"][0]["args"]
    assert set(arguments[1:3]) == {"flows/notices.py", "flows/orders.py"}


def test_helm_and_keda_do_not_contend_for_the_replicas() -> None:
    """An upgrade would scale to the chart's number, whatever KEDA has made of it."""
    replicas = {
        w["metadata"]["name"]: w["spec"].get("replicas")
        for w in of_kind(render(VALUES), "Deployment")
    }
    assert replicas == {"r-orders-rest": None, "r-orders-source": 1, "r-notices": 1, "r-scaler": 2}


def test_a_worker_that_is_scaled_is_no_static_member() -> None:
    assert "group_instance_id" not in str(render(VALUES)).lower()
    with pytest.raises(Refused, match=r"flows\.orders, worker all: static makes the partitions"):
        render(scaled(static=True))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": ["source", "route", "deliver"]}, "a source must always run"),
        ({"steps": ["source"], "scaling": {"enabled": True, "min": 1}}, "nothing to scale"),
        ({"scaling": {"enabled": True, "min": 5}}, "scaling.max is below scaling.min"),
    ],
)
def test_what_cannot_be_scaled_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused, match=said):
        render(scaled(**settings))


def test_a_worker_with_a_source_is_scaled_above_one() -> None:
    spec = scaled_object(
        scaled(steps=["source", "route", "deliver"], scaling={"enabled": True, "min": 1})
    )
    assert [t.get("metadata", {}).get("step") for t in spec["triggers"]] == ["route", "deliver"]


def test_a_worker_with_a_disk_is_scaled_as_what_it_is() -> None:
    target = scaled_object(scaled(data={"size": "1Gi"}))["scaleTargetRef"]
    assert target["kind"] == "StatefulSet"


def test_the_scaler_has_two_pods_a_budget_and_a_door_for_keda() -> None:
    operator = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}}]
    objects = {
        (o["kind"], o["metadata"]["name"]): o
        for o in render({**VALUES, "scaler": {"from": operator}})
    }
    (container,) = objects["Deployment", "r-scaler"]["spec"]["template"]["spec"]["containers"]
    assert container["args"][:4] == ["scaler", "flows/orders.py", "--env", "prod"]
    assert objects["Deployment", "r-scaler"]["spec"]["replicas"] == 2
    budget = objects["PodDisruptionBudget", "r-scaler"]["spec"]
    assert budget["maxUnavailable"] == 1
    chosen = objects["Deployment", "r-scaler"]["spec"]["selector"]["matchLabels"]
    assert budget["selector"]["matchLabels"] == chosen
    service = objects["Service", "r-scaler"]["spec"]
    assert service["selector"] == chosen
    assert {port["name"]: port["port"] for port in service["ports"]} == {
        "grpc": 9090,
        "health": 8090,
    }
    (rule,) = objects["NetworkPolicy", "r-scaler"]["spec"]["ingress"]
    assert rule == {"ports": [{"protocol": "TCP", "port": "grpc"}], "from": operator}
    assert ("PodDisruptionBudget", "r-orders-rest") in objects  # KEDA may make it several pods


def test_no_workload_takes_the_scalers_name() -> None:
    with pytest.raises(Refused, match="rename one of them"):
        render({**IMAGE, "flows": {"scaler": {"file": "flows/scaler.py"}}})


def cron_is_active(trigger: dict[str, Any], at: datetime) -> bool:
    """As KEDA's cron scaler has it: the next end comes before the next start."""
    start, end = (next(CronSim(trigger["metadata"][name], at)) for name in ("start", "end"))
    return end < start


def test_without_a_scaler_one_still_runs_within_the_hour() -> None:
    """Both replicas are gone: each round of KEDA's is an error, but for the cron trigger's part."""
    spec = scaled_object(VALUES)
    (net,) = [t for t in spec["triggers"] if t["type"] == "cron"]
    chance = random.Random(7)
    for _ in range(50):
        died = datetime(2026, 11, 22, tzinfo=UTC) + timedelta(seconds=chance.uniform(0, 86_400))
        keda, at = KedaScaling(replicas=0), died
        while not keda.replicas:
            at += timedelta(seconds=spec["pollingInterval"])
            keda.poll(at.timestamp(), active=cron_is_active(net, at), error=True)
            assert at - died <= timedelta(hours=1, seconds=15)


def test_the_values_in_the_documentation_are_right() -> None:
    (block,) = [b for b in blocks_of(ROOT / "docs" / "scaling.md") if b.language == "yaml"]
    spec = scaled_object(yaml.safe_load(block.text))
    assert [trigger["type"] for trigger in spec["triggers"]] == [*["external-push"] * 2, "cron"]


def test_the_net_wakes_workloads_at_different_minutes() -> None:
    flows = {f"f{n}": {"file": f"flows/f{n}.py"} for n in range(20)}
    worker = {"steps": ["deliver"], "scaling": {"enabled": True}}
    found = of_kind(render({**IMAGE, "flows": flows, "worker": worker}), "ScaledObject")
    starts = {o["spec"]["triggers"][-1]["metadata"]["start"] for o in found}
    assert len(starts) > 8
