"""A flow at a locked Kafka with exactly the rights that ``trunkline acls`` names; and what it says
while some of them are missing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from locked_kafka import CERTIFIED_USER, PASSWORD, SCRAM_USER, Locked, locked_kafka
from trunkline import admin, kafka
from trunkline.params import KAFKA_PREFIX, Backbone
from trunkline.scaler.demand import Facts
from trunkline.scaler.reader import ClusterReader, Found
from trunkline.scaler.steps import StepKey, steps_of
from trunkline.streams.flow.loading import load
from trunkline.streams.plan.acls import WORKER_ROLES, rights
from trunkline.streams.plan.topics import required_topics
from trunkline.streams.publish.publishers import publishers_topic
from worker_kit import Destination, WorkerProcess, Workers, environ_of, eventually

FLOW = Path(__file__).parent / "locked_flow.py"


@pytest.fixture(scope="module")
def locked() -> Iterator[Locked]:
    with locked_kafka() as running:
        yield running


def environ(backbone: Backbone, **parameters: str) -> dict[str, str]:
    """As ``environ_of``, with the settings of Kafka's clients."""
    settings = {
        KAFKA_PREFIX + name.replace(".", "_").upper(): text for name, text in backbone.kafka.items()
    }
    return {**environ_of(backbone, **parameters), **settings, "TRUNKLINE_CREATE": "true"}


def readiness(worker: WorkerProcess) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{worker.port}/readyz", timeout=5) as page:
            return dict(json.load(page))
    except urllib.error.HTTPError as refused:
        with refused:
            return dict(json.load(refused))
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return {}


def command(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trunkline", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_a_flow_runs_with_these_rights_and_no_others(
    locked: Locked, registry_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"locked-{uuid.uuid4().hex[:8]}"
    monkeypatch.setenv("FLOW", name)
    flow, folder = load(str(FLOW)), tmp_path / "in"
    folder.mkdir()
    topics = [*required_topics(flow, 2), publishers_topic()]
    kafka.ensure_topics(Backbone(bootstrap=locked.server.address), topics)
    needed = rights(flow, WORKER_ROLES)
    # One of each kind is missing at first.
    late = {f"{name}.erp.inbox", f"{name}.erp", f"trunkline.{name}.route."}
    locked.grant(SCRAM_USER, [right for right in needed if right.name not in late])
    locked.grant(SCRAM_USER, [kafka_right("topic", f"{name}.erp.inbox", "Describe")])
    with (
        Destination() as api,
        Workers(
            FLOW,
            tmp_path,
            environ(
                locked.backbone("SASL").model_copy(update={"registry": registry_url}),
                flow=name,
                folder=str(folder),
                api=api.url,
            ),
        ) as workers,
    ):
        worker = workers.start("source,route,deliver")
        eventually(lambda: "trunkline acls" in readiness(worker).get("reason", ""), "it says why")
        said = readiness(worker)
        assert not said["ready"]
        for right in (
            f"Read, Write on topic {name}.erp.inbox",
            f"Read on group {name}.erp",
            f"Write, Describe on transactional-id trunkline.{name}.route.*",
        ):
            assert right in said["reason"]
        assert worker.says("this account lacks rights on Kafka")
        for right in (f"topic {name}.erp.inbox", f"group {name}.erp", f"trunkline.{name}.route."):
            assert right in doctor(locked, registry_url, name, folder, api)
        locked.grant(SCRAM_USER, needed)
        eventually(lambda: worker.ready, "it is ready once the rights are granted")
        assert "this account lacks no right" in doctor(locked, registry_url, name, folder, api)
        before = len(locked.server.denials)
        api.status = 422
        (folder / "1.csv").write_text("id,status,cents\na,paid,1\n")
        eventually(lambda: api.refused, "the first one is refused")
        api.status = 204
        (folder / "2.csv").write_text("id,status,cents\nb,paid,2\n")
        eventually(lambda: len(api.deliveries) == 1, "the second one is delivered")
        locked.grant(CERTIFIED_USER, rights(flow, ["operator"]))
        operate(locked, registry_url, name, api)
        workers.stop(worker)
        assert sorted({_denied(line) for line in locked.server.denials[before:]}) == []
        for log in tmp_path.glob("*.log"):
            assert PASSWORD not in log.read_text()


def doctor(locked: Locked, registry_url: str, name: str, folder: Path, api: Destination) -> str:
    """What it tells to the workers' account."""
    backbone = locked.backbone("SASL").model_copy(update={"registry": registry_url})
    given = environ(backbone, flow=name, folder=str(folder), api=api.url)
    done = command(given, "doctor", str(FLOW))
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    return done.stdout


def _denied(line: str) -> str:
    """What a line of the authorizer's log says that was refused, and to whom."""
    found = re.search(r"User:(\S+) is Denied operation = (\w+) .* on resource = (\S+)", line)
    return " ".join(found.groups()) if found else line


def kafka_right(resource: str, name: str, *operations: str) -> kafka.Right:
    return kafka.Right(resource, name, operations)


def operate(locked: Locked, registry_url: str, name: str, api: Destination) -> None:
    """What an operator does: look, re-drive, pause, replay."""
    backbone = locked.backbone("MUTUAL").model_copy(update={"registry": registry_url})
    environment, erp = environ(backbone), f"{name}.erp"
    done = command(environment, "dlq", "redrive", erp, "--yes", "--why", "mended")
    assert done.returncode == 0, done.stderr
    eventually(lambda: len(api.deliveries) == 2, "the dead letter is re-driven")
    for arguments in (
        ("dlq", "list", erp),
        ("destination", "pause", erp, "--why", "upgrade"),
        ("destination", "status", erp),
        ("destination", "resume", erp),
        ("source", "status", f"{name}.till"),
        ("status", name),
        *(("events", topic) for topic in (f"{name}.orders", f"{erp}.inbox", f"{erp}.dlq")),
        ("replay", f"{name}.orders", "--to", erp, "--why", "again", "--detach"),
        ("replay", "list", name),
        ("audit", name),
    ):
        done = command(environment, *arguments)
        assert done.returncode == 0, (arguments, done.stderr)
    eventually(lambda: len(api.deliveries) == 4, "both are replayed")


def test_no_right_to_look_is_told_from_nothing_there(locked: Locked) -> None:
    """``replay list`` said "no replays", and ``dlq list`` that no flow had run there."""
    hidden = f"hidden-{uuid.uuid4().hex[:8]}"
    open_ = Backbone(bootstrap=locked.server.address)
    names = (f"{hidden}.control", f"{hidden}.audit", f"{hidden}.erp.inbox", f"{hidden}.erp.dlq")
    kafka.ensure_topics(open_, [kafka.TopicSpec(topic, 1) for topic in names])
    environment = environ(locked.backbone("SASL"))
    for arguments, topic in (
        (("replay", "list", hidden), f"{hidden}.control"),
        (("audit", hidden), f"{hidden}.audit"),
        (("dlq", "list", f"{hidden}.erp"), f"{hidden}.erp.dlq"),
        (("destination", "status", f"{hidden}.erp"), f"{hidden}.erp.inbox"),
    ):
        done = command(environment, *arguments)
        assert done.returncode == 1, (arguments, done.stdout)
        assert f"no right to topic '{topic}'" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_scaler_sees_all_with_its_rights_and_no_others(
    locked: Locked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOW", f"scaled-{uuid.uuid4().hex[:8]}")
    flow = load(str(FLOW))
    kafka.ensure_topics(
        Backbone(bootstrap=locked.server.address), [*required_topics(flow, 2), publishers_topic()]
    )
    locked.grant(CERTIFIED_USER, needed := rights(flow, ["scaler"]))
    assert {"Read", "Describe"} == {name for right in needed for name in right.operations}
    before = len(locked.server.denials)
    # A record in the control topic, so that it is read.
    admin.pause_destination(
        Backbone(bootstrap=locked.server.address), admin.Target(flow.name, "erp"), why="upgrade"
    )
    with closing(ClusterReader(locked.backbone("MUTUAL"), steps_of(flow))) as reader:
        # The coordinator of a group may still be about to take it over.
        eventually(lambda: _is_known(reader.look(time.time())), "all steps are known")
    assert sorted({_denied(line) for line in locked.server.denials[before:]}) == []


def _is_known(found: dict[StepKey, Found]) -> bool:
    return all(isinstance(one, Facts) for one in found.values())


def test_a_command_with_a_wrong_password_ends_at_once_and_never_shows_it(locked: Locked) -> None:
    wrong = "m4rked/wr@ng%"
    done = command(environ(locked.backbone("SASL", sasl_password=wrong)), "audit", "orders")
    assert done.returncode == 1
    assert "refuses the user 'scram-user' or its password" in done.stderr
    assert wrong not in done.stderr + done.stdout
    done = command(environ(locked.backbone("SASL", sasl_password=wrong)), "doctor")
    assert done.returncode == 1
    assert "wrong   Kafka: Kafka at " in done.stdout
    assert "refuses the user 'scram-user' or its password" in done.stdout
    assert wrong not in done.stderr + done.stdout
