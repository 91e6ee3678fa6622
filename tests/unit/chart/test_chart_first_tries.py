"""What people write first, and of which Kubernetes or a worker would get something else."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from helm_kit import Refused, of_kind, pods, render
from trunkline.params import load_backbone

IMAGE = {"image": {"repository": "registry.example.com/flows", "tag": "1"}}
ORDERS = {"orders": {"file": "flows/orders.py"}}
LONG = {"fullnameOverride": "-".join(["a23456789"] * 4)}


def rendered(**values: Any) -> list[dict[str, Any]]:
    return render({**IMAGE, "flows": ORDERS, **values})


def workers(**workers: Any) -> dict[str, Any]:
    return {"orders": {"file": "flows/orders.py", "workers": workers}}


def names(objects: list[dict[str, Any]]) -> list[str]:
    return [o["metadata"]["name"] for o in of_kind(objects, "Deployment", "StatefulSet")]


@pytest.mark.parametrize("mode", ["off", "hook"])
def test_whole_numbers_of_the_environment_stay_whole(mode: str) -> None:
    """Helm reads 12 as 12.0, and writes 2592000000 as 2.592e+09."""
    given: dict[str, Any] = {
        "trunkline": {
            "partitions": 12,
            "kafka": {"session.timeout.ms": 30000},
            "topics": {"orders.*": {"retention.ms": 2592000000}},
        },
        "params": {"ratio": 0.5, "sizes": [1, 2.5, [3]], "sites": [{"id": 12345678901}], "no": "5"},
    }
    objects = rendered(environment={"name": "prod", "file": given}, apply={"mode": mode})
    for one in of_kind(objects, "ConfigMap"):
        file = tomllib.loads(one["data"]["prod.toml"])
        assert repr(file["trunkline"]) == repr(
            {name: given["trunkline"][name] for name in file["trunkline"]}
        )
        assert sorted(map(repr, file["params"].items())) == sorted(
            map(repr, given["params"].items())
        )
        assert load_backbone(file, environ={}).kafka == {"session.timeout.ms": "30000"}


def test_an_environment_that_toml_cannot_hold_is_refused() -> None:
    """Helm would write the error into the file, for workers to stumble over."""
    with pytest.raises(Refused, match=r"environment\.file cannot be written as TOML"):
        rendered(environment={"file": {"params": {"sizes": [1, None]}}})


def test_recreate_alone_is_a_strategy() -> None:
    """The default's rollingUpdate beside it is refused by Kubernetes."""
    own: list[dict[str, Any]] = [
        {"worker": {"strategy": {"type": "Recreate"}}},
        {"flows": workers(all={"strategy": {"type": "Recreate"}})},
    ]
    for values in own:
        (one,) = of_kind(rendered(**values), "Deployment")
        assert one["spec"]["strategy"] == {"type": "Recreate"}


def test_two_workloads_of_one_name_are_refused() -> None:
    both = {**workers(route={}), "orders-route": {"file": "flows/other.py"}}
    with pytest.raises(Refused, match="would both be r-orders-route: rename one of them"):
        rendered(flows=both)
    with pytest.raises(Refused, match="the release's Service would both be r-workers"):
        rendered(flows={"workers": {"file": "flows/workers.py"}})


def test_long_names_stay_apart_and_short_enough() -> None:
    """A StatefulSet's pods have its name and ten characters more in a label of at most 63."""
    flow = "f" * 32
    flows = {flow: {"file": "f.py", "workers": {"route": {"data": {"size": "1Gi"}}, "deliver": {}}}}
    found = names(rendered(flows=flows, **LONG))
    assert len(set(found)) == 2
    assert max(map(len, found)) <= 52
    assert found == names(rendered(flows=flows, **LONG)), "and are the same with each upgrade"


@pytest.mark.parametrize("flow", ["123", "true"])
def test_names_that_look_like_numbers_are_text(flow: str) -> None:
    secrets = {"A": {"name": "7", "key": "on"}}
    objects = rendered(flows={flow: {"file": "f.py"}}, secrets=secrets)
    (one,) = of_kind(objects, "Deployment")
    (pod,) = pods(objects)
    assert one["spec"]["selector"]["matchLabels"]["trunkline/flow"] == flow
    assert pod["metadata"]["labels"]["trunkline/flow"] == flow
    env = {entry["name"]: entry for entry in pod["spec"]["containers"][0]["env"]}
    assert env["A"]["valueFrom"]["secretKeyRef"] == {"name": "7", "key": "on"}


def test_labels_stand_once_and_choose_the_same_pods() -> None:
    labels = {"app.kubernetes.io/part-of": "acme", "app.kubernetes.io/instance": "mine"}
    (one,) = of_kind(rendered(commonLabels=labels), "Deployment")
    found = one["spec"]["template"]["metadata"]["labels"]
    assert found["app.kubernetes.io/part-of"] == "acme"
    assert one["spec"]["selector"]["matchLabels"].items() <= found.items()


@pytest.mark.parametrize("ports", [{"health": 8085}, {"notices": 8090}, {"a": 8085, "b": 8085}])
def test_a_port_is_not_that_of_another(ports: dict[str, int]) -> None:
    with pytest.raises(Refused, match="each of ports has a number of its own"):
        rendered(flows=workers(all={"ports": ports}))


@pytest.mark.parametrize("name", ["secrets", "extraEnv", "extraEnvFrom", "commonLabels", "flows"])
def test_a_list_with_nothing_below_it_is_empty(name: str) -> None:
    """As ``extraEnv:`` whose lines are commented out: Helm hands on no value at all."""
    assert bool(of_kind(rendered(**{name: None}), "Deployment")) is (name != "flows")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"worker": None}, "missing property 'worker'"),
        ({"worker": {"replicas": None}}, "at '/worker': missing property 'replicas'"),
        ({"environment": {"name": None}}, "at '/environment': missing property 'name'"),
    ],
)
def test_any_other_value_is_missed_by_name(values: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused, match=said):
        rendered(**values)


def test_the_apply_job_gets_to_a_kafka_with_its_own_authority() -> None:
    """What workers mount is not the job's: as a hook it runs before the release is there."""
    apply: dict[str, Any] = {
        "mode": "hook",
        "extraVolumes": [{"name": "ca", "secret": {"secretName": "kafka-ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/kafka"}],
        "nodeSelector": {"site": "plant-7"},
        "tolerations": [{"operator": "Exists"}],
    }
    (job,) = of_kind(rendered(apply=apply), "Job")
    spec = job["spec"]["template"]["spec"]
    assert apply["extraVolumes"][0] in spec["volumes"]
    assert apply["extraVolumeMounts"][0] in spec["containers"][0]["volumeMounts"]
    assert (spec["nodeSelector"], spec["tolerations"]) == (
        {"site": "plant-7"},
        [{"operator": "Exists"}],
    )


def test_nothing_is_applied_of_no_flow() -> None:
    assert not of_kind(render({**IMAGE, "apply": {"mode": "hook"}}), "Job")
