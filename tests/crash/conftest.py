"""A flow of each test's own, on the shared servers."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from broker import Broker

from pod_kit import Pod
from trunkline.params import Backbone
from worker_kit import Destination, Feed, Workers, environ_of

HERE = Path(__file__).parent


@pytest.fixture
def backbone(bootstrap: str, registry_url: str) -> Backbone:
    return Backbone(bootstrap=bootstrap, registry=registry_url)


@pytest.fixture
def broker(server_home: Path, name: str) -> Iterator[Broker]:
    """One of the test's own; ``backbone`` must name its address then."""
    with Broker(server_home / name) as running:
        yield running


@pytest.fixture
def name() -> str:
    """A flow's name that no other test has."""
    return f"crash-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def destination() -> Iterator[Destination]:
    with Destination() as running:
        yield running


@pytest.fixture
def feed(backbone: Backbone, name: str) -> Feed:
    return Feed(backbone, f"{name}.orders")


@pytest.fixture
def workers_of(backbone: Backbone, name: str, tmp_path: Path) -> Iterator[Callable[..., Workers]]:
    """Makes the workers of a flow file, given its parameters; none is left behind."""
    with ExitStack() as running:

        def make(file: str, **parameters: str) -> Workers:
            environ = environ_of(backbone, flow=name, **parameters)
            return running.enter_context(Workers(HERE / file, tmp_path, environ))

        yield make


@pytest.fixture
def pods() -> Iterator[list[Pod]]:
    """Those that were started; none is left behind."""
    started: list[Pod] = []
    yield started
    for pod in started:
        pod.kill()
