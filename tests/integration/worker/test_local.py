"""The local stack as a user runs it: ``trunkline up``, ``servers`` and ``down`` on real servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg2
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from trunkline.local.ports import free_port
from trunkline.local.state import Running, inspect

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


def trunkline(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trunkline.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200", **environment},
    )


@contextmanager
def up(home: Path, *options: str, **environment: str) -> Iterator[Running]:
    """``trunkline up --detach`` on free ports; stopped in any case."""
    ports = ("--kafka-port=0", "--registry-port=0")
    done = trunkline("up", "--detach", "--home", str(home), *ports, *options, **environment)
    assert done.returncode == 0, done.stderr
    try:
        yield found(home)
    finally:
        assert trunkline("down", "--home", str(home)).returncode == 0


def found(home: Path) -> Running:
    running = inspect(home)
    assert running is not None
    return running


@pytest.fixture(scope="module")
def home(server_home: Path) -> Iterator[Path]:
    """A stack that runs detached, for tests that leave it as healthy as they found it."""
    home = server_home / "detached"
    with up(home):
        yield home


def test_status_shows_every_server(home: Path) -> None:
    shown = trunkline("servers", "--home", str(home))
    assert shown.returncode == 0
    assert all(server.address in shown.stdout for server in found(home).servers)
    state = json.loads(trunkline("servers", "--json", "--home", str(home)).stdout)
    assert [(s["name"], s["state"]) for s in state["servers"]] == [
        ("kafka", "up"),
        ("registry", "up"),
    ]


def test_one_home_has_one_stack(home: Path) -> None:
    second = trunkline("up", "--home", str(home), "--kafka-port=0", "--registry-port=0")
    assert second.returncode == 1
    assert f"a stack already runs on {home}" in second.stderr


def test_a_taken_port_is_named_with_the_process_that_has_it(home: Path, tmp_path: Path) -> None:
    kafka = found(home).servers[0]
    port = kafka.address.rpartition(":")[2]
    second = trunkline("up", "--detach", "--home", str(tmp_path), f"--kafka-port={port}")
    assert second.returncode == 1
    assert f"kafka needs port {port}, but java (pid {kafka.pid}) listens there" in second.stderr
    assert inspect(tmp_path) is None


def test_a_killed_broker_is_started_again_with_its_data(
    home: Path, topic: Callable[[str], str]
) -> None:
    name, before = topic("killed"), found(home)
    write(before.endpoints.bootstrap, name, b"survives")
    pid = before.servers[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: (now := found(home)).ready and now.servers[0].restarts == 1)
    assert read(before.endpoints.bootstrap, name) == b"survives"
    assert "kafka was killed by SIGKILL: starting it again" in (home / "up.log").read_text()


def test_a_restart_keeps_the_data_needs_no_network_and_a_stop_leaves_no_process(
    server_home: Path,
) -> None:
    home = server_home / "restarted"
    with up(home, "--postgres", "--postgres-port=0") as first:
        write(first.endpoints.bootstrap, "kept", b"value")
        register(first.endpoints.registry, "kept-value")
        execute(first.endpoints.postgres, "create table kept as select 42 as answer")
        os.kill(first.pid, signal.SIGTERM)
        assert_nothing_is_left(first)

    offline = {"TRUNKLINE_MAVEN": "http://127.0.0.1:9"}
    with up(home, "--postgres", "--postgres-port=0", **offline) as second:
        assert read(second.endpoints.bootstrap, "kept") == b"value"
        assert httpx.get(f"{second.endpoints.registry}/subjects").json() == ["kept-value"]
        assert execute(second.endpoints.postgres, "select answer from kept") == [(42,)]
    assert_nothing_is_left(second)
    assert trunkline("servers", "--home", str(home)).returncode == 1


def test_without_network_and_cache_the_first_start_says_so(tmp_path: Path) -> None:
    offline = {"TRUNKLINE_MAVEN": "http://127.0.0.1:9", "TRUNKLINE_CACHE": str(tmp_path / "cache")}
    done = trunkline(
        "up", "--home", str(tmp_path), f"--kafka-port={free_port()}", "--registry-port=0", **offline
    )
    assert done.returncode == 1
    assert "The first start needs the network" in done.stderr
    assert "Traceback" not in done.stderr


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def assert_nothing_is_left(stack: Running) -> None:
    pids = {stack.pid, *(server.pid for server in stack.servers)}
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def write(bootstrap: str, topic: str, value: bytes) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(topic, value)
    assert producer.flush(30) == 0


def read(bootstrap: str, topic: str) -> bytes | None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    message = consumer.poll(30)
    consumer.close()
    return None if message is None else message.value()


def register(registry: str, subject: str) -> None:
    url = f"{registry}/subjects/{subject}/versions"
    httpx.post(url, json={"schema": '{"type": "string"}'}).raise_for_status()


def execute(dsn: str | None, statement: str) -> list[tuple[object, ...]]:
    assert dsn is not None
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()
