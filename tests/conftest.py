"""Real servers for the tests, started when a test first asks for one, on free ports.

To save their start while developing, keep a stack running and name it:
``TRUNKLINE_TEST_BOOTSTRAP``, ``TRUNKLINE_TEST_REGISTRY``, ``TRUNKLINE_TEST_POSTGRES``,
``TRUNKLINE_TEST_MARIADB``.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pg15_kit import Postgres15
from trunkline.local import artifacts
from trunkline.local.mariadb import MariaDB
from trunkline.local.ports import free_port
from trunkline.local.postgres import Postgres
from trunkline.local.process import Child
from trunkline.local.server import Server
from trunkline.local.stack import Endpoints, Stack

# No test is timed: on a machine that others use, drawing an example may take a while, too.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def mypys_cache(request: pytest.FixtureRequest) -> Iterator[None]:
    """What mypy, run by tests on what a project of somebody's has, keeps of what it has read: a run
    without it reads the whole of trunkline and of what that imports, for half a minute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MYPY_CACHE_DIR", str(request.config.cache.mkdir("mypy")))
        yield


@pytest.fixture(scope="session")
def server_home() -> Iterator[Path]:
    """A folder that servers can enter which run as another user (pytest's own is closed)."""
    home = Path(tempfile.mkdtemp(prefix="trunkline-"))
    home.chmod(0o755)
    yield home
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def stack(server_home: Path) -> Iterator[Endpoints]:
    """Kafka and the schema registry, shared by all tests: use topics and subjects of your own."""
    bootstrap = os.environ.get("TRUNKLINE_TEST_BOOTSTRAP")
    registry = os.environ.get("TRUNKLINE_TEST_REGISTRY")
    if bootstrap and registry:
        yield Endpoints(bootstrap, registry)
        return
    with Stack(server_home / "stack", kafka_port=0, registry_port=0) as running:
        yield running.endpoints


@pytest.fixture(scope="session")
def bootstrap(stack: Endpoints) -> str:
    return stack.bootstrap


@pytest.fixture(scope="session")
def registry_url(stack: Endpoints) -> str:
    return stack.registry


@pytest.fixture(scope="session")
def postgres_dsn(server_home: Path) -> Iterator[str]:
    """A PostgreSQL with ``wal_level=logical``, shared: use a database of your own."""
    if given := os.environ.get("TRUNKLINE_TEST_POSTGRES"):
        yield given
        return
    with _running(Postgres(server_home / "postgres", free_port())) as server:
        yield server.address


@pytest.fixture(scope="session")
def postgres15_dsn(server_home: Path) -> Iterator[str]:
    """As ``postgres_dsn``, in Debian's version 15. Skips where it is not to be had."""
    with _running(Postgres15(server_home / "postgres15", free_port())) as server:
        yield server.address


@pytest.fixture(scope="session")
def mariadb_url(server_home: Path) -> Iterator[str]:
    """A MariaDB, shared: use tables of your own. Skips without network, but never in CI."""
    if given := os.environ.get("TRUNKLINE_TEST_MARIADB"):
        yield given
        return
    server = MariaDB(server_home / "mariadb", free_port())
    try:
        artifacts.fetch(server.bundle)
    except artifacts.ArtifactError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no MariaDB: {error}")
    with _running(server):
        yield server.address


@contextmanager
def _running(server: Server) -> Iterator[Server]:
    server.home.mkdir()
    server.prepare()
    child = Child(server.command())
    try:
        child.wait_ready()
        yield server
    finally:
        child.stop()


@pytest.fixture
def topic() -> Callable[[str], str]:
    """Names that no other test has: ``topic("orders")`` is ``orders-3f2a91c0``."""

    def unique(name: str = "topic") -> str:
        return f"{name}-{uuid.uuid4().hex[:8]}"

    return unique
