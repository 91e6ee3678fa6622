"""``trunkline doctor`` at a real Kafka and registry: all well, and one system broken at a time."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from trunkline.cli import app
from trunkline.local.ports import free_port
from trunkline.params import PARAMS_PREFIX
from worker_kit import Destination

FLOW = Path(__file__).parents[1] / "kafka" / "locked_flow.py"


@pytest.fixture
def environ(
    bootstrap: str, registry_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.MonkeyPatch]:
    with Destination() as api:
        monkeypatch.setenv("TRUNKLINE_BOOTSTRAP", bootstrap)
        monkeypatch.setenv("TRUNKLINE_REGISTRY", registry_url)
        monkeypatch.setenv("FLOW", f"doc-{uuid.uuid4().hex[:8]}")
        monkeypatch.setenv(f"{PARAMS_PREFIX}FOLDER", str(tmp_path))
        monkeypatch.setenv(f"{PARAMS_PREFIX}API", api.url)
        yield monkeypatch


def examined(*more: str) -> tuple[int, list[dict[str, Any]]]:
    result = CliRunner().invoke(app, ["doctor", str(FLOW), "--json", *more])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, [json.loads(line) for line in result.stdout.splitlines()]


def wrong(found: list[dict[str, Any]]) -> list[str]:
    return [f"{one['area']}: {one['what']}" for one in found if one["verdict"] == "wrong"]


def test_all_is_well(environ: pytest.MonkeyPatch) -> None:
    code, found = examined("--port", str(free_port()))
    assert (code, wrong(found)) == (0, [])
    told = "\n".join(one["what"] for one in found)
    for words in (
        "answers, by PLAINTEXT: cluster",
        "its settings suit what flows do",
        "topics and schemas are missing: they are made when a worker starts",
        "this account lacks no right (source, route, deliver)",
        "subjects",
        "its clock is as this machine's",
        "its system is as it must be",
        "is free",
        "librdkafka",
    ):
        assert words in told


def test_a_kafka_that_is_away_is_told_and_the_others_are_examined(
    environ: pytest.MonkeyPatch,
) -> None:
    environ.setenv("TRUNKLINE_BOOTSTRAP", f"127.0.0.1:{free_port()}")
    code, found = examined()
    (one,) = wrong(found)
    assert code == 1
    assert one.startswith("Kafka: nothing listens at Kafka's address")
    assert any(one["area"] == "registry" and one["verdict"] == "ok" for one in found)


def test_a_registry_and_an_api_that_are_away(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("TRUNKLINE_REGISTRY", f"http://127.0.0.1:{free_port()}")
    environ.setenv(f"{PARAMS_PREFIX}API", f"http://127.0.0.1:{free_port()}")
    code, found = examined()
    assert code == 1
    registry, api = wrong(found)
    assert "cannot be asked" in registry
    assert "cannot be reached: Connection refused" in api
    assert "Traceback" not in registry + api


def test_more_copies_than_brokers_and_topics_that_nobody_may_make(
    environ: pytest.MonkeyPatch,
) -> None:
    environ.setenv("TRUNKLINE_REPLICATION", "3")
    environ.setenv("TRUNKLINE_CREATE", "false")
    code, found = examined()
    assert code == 1
    told = wrong(found)
    assert any("topics want 3 copies, and there are 1 brokers" in one for one in told)
    assert any("are missing: create is false" in one for one in told)


def test_a_parameter_that_is_missing(environ: pytest.MonkeyPatch) -> None:
    environ.delenv(f"{PARAMS_PREFIX}FOLDER")
    code, found = examined()
    (one,) = wrong(found)
    assert code == 1
    assert "parameter 'folder' is missing" in one
