"""Each set of values is installed, upgraded, rolled back and uninstalled, without a complaint."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from chart_values import IMAGE, SETS
from helm_kit import render
from kube_kit import Cluster, Refused
from kube_release import HOOKS, Release

WAIT = ("--wait", "--timeout", "120s")
NEXT = {"image": {**IMAGE["image"], "digest": f"sha256:{'b' * 64}"}}


@pytest.mark.parametrize("name", SETS)
def test_a_release_comes_and_goes_without_a_complaint(name: str, release: Release) -> None:
    """The namespace asks for restricted pods; what Helm prints of warnings is a complaint, too."""
    first, second = SETS[name], {**SETS[name], **NEXT}
    release.install(first, *WAIT)
    kinds = {(o["apiVersion"], o["kind"]) for o in render(first)}
    assert _serves(release, "a")
    release.upgrade(second, *WAIT)
    assert _serves(release, "b")
    release.rollback(1, *WAIT)
    assert _serves(release, "a")
    release.uninstall("--wait")
    left = {(o["kind"], o["metadata"]["name"]) for o in release.objects(*kinds)}
    # A StatefulSet's disks are deleted with it, and its pods may still be ending.
    assert left <= HOOKS
    assert bool(left) == ("hook" in name)


def _serves(release: Release, digest: str) -> bool:
    """All pods that there are to be are ready, and of this image."""
    workloads = release.workloads()
    for one in workloads:
        (container,) = one["spec"]["template"]["spec"]["containers"]
        assert container["image"].endswith(f"sha256:{digest * 64}")
        status, wanted = one["status"], one["spec"]["replicas"]
        assert status["observedGeneration"] == one["metadata"]["generation"]
        assert status["readyReplicas"] == status["updatedReplicas"] == wanted >= 1
    return bool(workloads)


def test_pods_that_are_not_restricted_do_not_come_into_being(cluster: Cluster) -> None:
    """The rule that all these releases stand under is one."""
    namespace = cluster.namespace()
    pod: dict[str, Any] = yaml.safe_load(
        "{metadata: {name: p}, spec: {containers: [{name: c, image: i}]}}"
    )
    with pytest.raises(Refused, match='violates PodSecurity \\\\"restricted'):
        cluster.api.make(cluster.api.place("v1", "Pod", namespace), pod)
    cluster.forget(namespace)
