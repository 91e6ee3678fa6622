"""One Kubernetes for all of these tests, and a namespace for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kube_kit import Cluster
from kube_release import Release


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("kubernetes")) as running:
        yield running


@pytest.fixture
def release(cluster: Cluster) -> Iterator[Release]:
    """A release in a namespace of its own, which is forgotten with it."""
    namespace = cluster.namespace()
    yield Release(cluster, namespace)
    cluster.forget(namespace)


@pytest.fixture(scope="session")
def home_of_charts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where copies of the chart may be made."""
    return tmp_path_factory.mktemp("charts")
