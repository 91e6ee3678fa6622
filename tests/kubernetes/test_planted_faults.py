"""A chart with a fault is complained of: by its schema, by Helm, or by the API server.

The releases without a fault are looked at in the same way (``test_releases.py``), so that these
show that there a fault would have been found.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chart_faults import FAULTS, HELPERS, Fault
from chart_values import SMALL
from kube_kit import Cluster
from kube_release import Complaint, Release


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    """One for all: what is half made of a release with a fault does not matter to the next."""
    name = cluster.namespace()
    yield name
    cluster.forget(name)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_complained_of(
    fault: str, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    planted = FAULTS[fault]
    release = Release(cluster, namespace, f"f{list(FAULTS).index(fault)}")
    with pytest.raises(Complaint) as complaint:
        release.install(planted.values, "--timeout", "20s", chart=planted.planted(tmp_path / "c"))
    assert planted.said in str(complaint.value)


def test_another_selector_in_a_new_version_is_refused(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    """A workload's selector can never change: an upgrade would fail for everybody."""
    release = Release(cluster, namespace, "selector")
    release.install(SMALL)
    right = "app.kubernetes.io/name: trunkline\n"
    fault = Fault("", file=HELPERS, right=right, wrong=f"{right}tier: backend\n")
    with pytest.raises(Complaint, match="field is immutable"):
        release.upgrade(SMALL, chart=fault.planted(tmp_path / "c"))
