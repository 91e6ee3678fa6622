"""How a release is rolled from one version to the next, and what drains and failures do to it.

Controllers and scheduler are Kubernetes' own; what is looked at is all that happened, in the order
in which the API server took it, and not what is there now and then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chart_values import IMAGE, STATIC
from kube_history import Chosen, History, all_of, has, image, is_of, serves
from kube_kit import NODES, Cluster, Refused
from kube_release import Complaint, Release
from kube_stages import BROKEN
from worker_kit import eventually

WAIT = ("--wait", "--timeout", "120s")
REPOSITORY = IMAGE["image"]["repository"]


def values(tag: str, **more: Any) -> dict[str, Any]:
    """Two workers, the second one of three pods."""
    workers = {"route": {"steps": ["route"]}, "deliver": {"steps": ["deliver"], "replicas": 3}}
    return {
        "image": {"repository": REPOSITORY, "tag": tag},
        "environment": {"file": {"trunkline": {"bootstrap": f"kafka-{tag}:9092"}}},
        "apply": {"mode": "hook", "backoffLimit": 0},
        "flows": {"orders": {"file": "flows/orders.py", "workers": workers}},
        **more,
    }


@pytest.fixture
def history(release: Release) -> History:
    return History(release.cluster, release.namespace)


DELIVER = is_of("worker", worker="deliver")


def test_the_apply_job_is_complete_before_a_new_pod_is_there(
    release: Release, history: History
) -> None:
    release.install(values("1"), *WAIT)
    release.upgrade(values("2"), *WAIT)
    for tag in ("1", "2"):
        done = history.first("batch/v1", "Job", all_of(of_version(tag), has("Complete")))
        changed = history.first("apps/v1", "Deployment", of_version(tag))
        begun = history.first("v1", "Pod", all_of(of_version(tag), is_of("worker")))
        assert done < changed < begun


def of_version(tag: str) -> Chosen:
    return lambda found: image(found) == f"{REPOSITORY}:{tag}"


def test_a_job_that_fails_leaves_the_old_release_as_it_was(
    release: Release, history: History
) -> None:
    release.install(values("1"), *WAIT)
    kinds = ("v1", "ConfigMap"), ("apps/v1", "Deployment"), ("v1", "Pod")
    before = {_identity(o) for o in release.objects(*kinds) if not _is_hook(o)}
    with pytest.raises(Complaint, match="pre-upgrade hooks failed"):
        release.upgrade(values("broken"), *WAIT)
    (job,) = release.objects(("batch/v1", "Job"))
    assert (image(job), has("Failed")(job)) == (BROKEN, True)
    assert {_identity(o) for o in release.objects(*kinds) if not _is_hook(o)} == before
    assert all(sum(map(serves, pods)) == 3 for pods in _since_all_served(history, DELIVER, 3))
    release.upgrade(values("2"), *WAIT)  # and the next one goes through
    assert {image(o) for o in release.workloads()} == {f"{REPOSITORY}:2"}


def _identity(found: dict[str, Any]) -> tuple[str, str, str]:
    """An object, and which state of it: anything that is written to it makes another."""
    about = found["metadata"]
    return found["kind"], about["uid"], str(about.get("generation", about["resourceVersion"]))


def _is_hook(found: dict[str, Any]) -> bool:
    return found["metadata"]["name"].startswith("r-apply")


def test_a_rollout_never_has_fewer_pods_that_serve(release: Release, history: History) -> None:
    """And one more at the most."""
    release.install(values("1"), *WAIT)
    release.upgrade(values("2"), *WAIT)
    moments = list(_since_all_served(history, DELIVER, 3))
    assert {sum(map(serves, pods)) for pods in moments} <= {3, 4}
    assert max(sum("deletionTimestamp" not in p["metadata"] for p in pods) for pods in moments) == 4
    assert {image(pod) for pod in moments[-1] if serves(pod)} == {f"{REPOSITORY}:2"}


def test_a_version_that_never_becomes_ready_takes_nothing_away(
    release: Release, history: History
) -> None:
    without = {"apply": {"mode": "off"}}
    release.install(values("1", **without), *WAIT)
    with pytest.raises(Complaint):
        release.upgrade(values("broken", **without), "--wait", "--timeout", "5s")
    begun = release.pods(**{"trunkline/worker": "deliver"})
    assert sorted(image(pod) for pod in begun) == [*3 * [f"{REPOSITORY}:1"], BROKEN]
    release.rollback(1, *WAIT)
    assert all(sum(map(serves, pods)) == 3 for pods in _since_all_served(history, DELIVER, 3))


def test_static_members_are_replaced_one_by_one_from_the_last(
    release: Release, history: History
) -> None:
    """Each under its own name: what is Kafka's group.instance.id must never be there twice."""
    release.install(STATIC, *WAIT)
    release.upgrade({**STATIC, "image": {"repository": REPOSITORY, "tag": "2"}}, *WAIT)
    moments = list(_since_all_served(history, is_of("worker"), 3))
    assert min(sum(map(serves, pods)) for pods in moments) == 2
    for pods in moments:
        names = [pod["metadata"]["name"] for pod in pods]
        assert len(names) == len(set(names))
    ended = [
        found["metadata"]["name"]
        for _, change, found in history.of("v1", "Pod")
        if change == "DELETED"
    ]
    assert ended == ["r-orders-2", "r-orders-1", "r-orders-0"]


def _since_all_served(
    history: History, chosen: Chosen, number: int
) -> Iterator[list[dict[str, Any]]]:
    """The moments from that on in which so many pods served first."""
    began = False
    for pods in history.pods(chosen):
        began = began or sum(map(serves, pods)) == number
        if began:
            yield pods
    assert began


@pytest.fixture
def no_place(cluster: Cluster) -> Iterator[Callable[[bool], None]]:
    """Whether nodes take new pods, as `kubectl cordon` says; they do again after the test."""

    def cordon(closed: bool) -> None:
        for name in NODES:
            cluster.api.patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": closed}})

    yield cordon
    cordon(False)


def test_a_drain_takes_one_pod_of_a_worker_at_a_time(
    release: Release, no_place: Callable[[bool], None]
) -> None:
    release.install(values("1"), *WAIT)
    first, second, _ = release.pods(**{"trunkline/worker": "deliver"})
    budgets = ("policy/v1", "PodDisruptionBudget")
    eventually(lambda: _allowed(release.objects(budgets)) == [1], "the budget is known")
    no_place(True)
    _evict(release, first)
    with pytest.raises(Refused, match="disruption budget") as refused:
        _evict(release, second)
    assert refused.value.status == 429
    no_place(False)
    eventually(lambda: _allowed(release.objects(budgets)) == [1], "another pod serves for it")
    _evict(release, second)


def _allowed(budgets: list[dict[str, Any]]) -> list[int]:
    return [budget.get("status", {}).get("disruptionsAllowed", 0) for budget in budgets]


def _evict(release: Release, pod: dict[str, Any]) -> None:
    name = pod["metadata"]["name"]
    place = release.cluster.api.place("v1", "Pod", release.namespace)
    release.cluster.api.make(
        f"{place}/{name}/eviction",
        {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": release.namespace},
        },
    )


def test_pods_of_a_worker_are_spread_over_nodes(release: Release) -> None:
    release.install(values("1"), *WAIT)
    nodes = [pod["spec"]["nodeName"] for pod in release.pods(**{"trunkline/worker": "deliver"})]
    assert set(nodes) == set(NODES)


def test_a_plain_job_is_the_same_for_the_same_values_and_another_for_others(
    release: Release,
) -> None:
    """ "field is immutable" would end the second upgrade."""
    job = {"apply": {"mode": "job"}}

    def jobs() -> set[str]:
        return {o["metadata"]["uid"] for o in release.objects(("batch/v1", "Job"))}

    release.install(values("1", **job), *WAIT)
    first = jobs()
    release.upgrade(values("1", **job), *WAIT)
    assert jobs() == first
    release.upgrade(values("2", **job), *WAIT)
    assert len(jobs()) == 1
    assert not jobs() & first
