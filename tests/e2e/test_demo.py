"""``trunkline demo`` as a user runs it: its proof, its exit code, and that it leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest

from marked_secrets import Marked
from trunkline.local.ports import free_port
from trunkline.local.state import inspect

ROOT = Path(__file__).parents[2]
Demo = subprocess.Popen[str]


def _heed_interrupts() -> None:
    """A shell makes what it runs in the background, and all that this starts, ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def demo(home: Path, *options: str, **environ: str) -> Iterator[Demo]:
    """The demo with few rows; killed if the test fails, and with it (on Linux) all it started."""
    ports = ("--kafka-port=0", "--registry-port=0", f"--home={home}")
    command = [sys.executable, "-m", "trunkline.cli", "demo", *ports, *options]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_interrupts,  # noqa: PLW1509 - this process has no other threads
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(process: Demo, stage: str) -> str:
    """Read its progress until a stage begins; returns what was read."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if stage in line:
            return "".join(seen)
    pytest.fail("".join(seen))


def children(process: Demo) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def ended(process: Demo) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=150)
    return process.returncode, out, err


def test_it_proves_that_everything_arrived(server_home: Path) -> None:
    home, marked = server_home / "proved", Marked()
    secrets = {
        "PGPASSWORD": marked.secret("Dsn"),
        "TRUNKLINE_PARAMS_NOTICES_TOKEN": marked.secret("Token"),
    }
    options = ("--rows=200", "--outage=3", "--postgres-port=0", "--json")
    with demo(home, *options, **secrets) as process:
        begun = until(process, "steady")
        started = children(process)
        code, out, err = ended(process)
    assert code == 0, err
    proof = json.loads(out)
    assert proof["ok"] is True
    found = {destination.pop("name"): destination for destination in proof["destinations"]}
    assert set(found) == {"operations", "desk", "mart", "board"}
    for destination in found.values():
        assert destination["expected"] == destination["delivered"] > 0
        assert not destination["missing"] + destination["out_of_order"] + destination["unexpected"]
    assert found["mart"]["expected"] == 200
    assert found["mart"]["latency_ms"]["p99"] >= found["mart"]["latency_ms"]["p50"] > 0
    assert proof["notices"] > 0
    assert proof["outage"]["requests_refused"] > 0
    # Five flights by a call that waits for the answer and one that does not, and one in the outage,
    # whose caller is not kept waiting until that is over.
    desk, corrections = proof["desk"], found["desk"]["expected"]
    assert (corrections, desk["while_down"]) == (11, 1)
    assert desk["done"] == 5
    assert desk["accepted"] == desk["succeeded"] == 6
    assert "breaker open" in err
    assert len(started) >= 7  # three servers, a gateway, two receivers, a worker
    assert not any(child.is_running() for child in started)
    assert inspect(home) is None
    assert leaks(home, marked, begun + out + err) == {}


def leaks(home: Path, marked: Marked, said: str) -> dict[str, set[str]]:
    """Which secrets stand where: in what the demo said, in its logs and data, Kafka's, too."""
    seen = {"said": said.encode()}
    for file in home.rglob("*"):
        if file.is_file() and file.suffix not in (".index", ".timeindex"):  # megabytes of zeros
            seen[str(file)] = file.read_bytes()
    assert any(where.endswith("worker-1.log") for where in seen)
    return {where: found for where, text in seen.items() if (found := marked.found(text))}


def test_a_write_that_the_airport_did_not_make_fails_it(server_home: Path) -> None:
    port = free_port()
    options = ("--rows=100", "--rate=20", "--outage=0", f"--postgres-port={port}", "--json")
    with demo(server_home / "doctored", *options) as process:
        until(process, "steady")
        with closing(psycopg2.connect(f"postgresql://postgres@127.0.0.1:{port}/mart")) as mart:
            rewrite_a_row(mart)
        code, out, err = ended(process)
    assert code == 1, err
    proof: dict[str, Any] = json.loads(out)
    assert proof["ok"] is False
    assert {d["name"]: d["unexpected"] for d in proof["destinations"]} == {
        "operations": 0,
        "desk": 0,
        "mart": 1,
        "board": 0,
    }
    assert [d["missing"] for d in proof["destinations"]] == [0, 0, 0, 0]


def rewrite_a_row(mart: Any) -> None:
    """A flight gets another state, and its own one back, at once."""
    with mart.cursor() as cursor:
        for status in ("'lost ' || status", "substr(status, 6)"):
            cursor.execute(
                f"UPDATE flights SET status = {status} WHERE id = (SELECT min(id) FROM flights)"
            )
            assert cursor.rowcount == 1
        mart.commit()


@pytest.mark.parametrize(
    ("number", "stage"), [(signal.SIGINT, "steady"), (signal.SIGTERM, "starting")]
)
def test_a_signal_ends_it_and_leaves_no_process(
    server_home: Path, number: signal.Signals, stage: str
) -> None:
    home = server_home / f"interrupted-{number.name}"
    with demo(home, "--rows=1000", "--rate=20", "--postgres-port=0", "--json") as process:
        until(process, stage)
        started = children(process)
        process.send_signal(number)
        code, out, _ = ended(process)
    assert (code, out) == (130, "")
    assert not any(child.is_running() for child in started)
    assert inspect(home) is None


def test_it_empties_no_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("mine")
    with demo(tmp_path, "--rows=10") as process:
        code, _, err = ended(process)
    assert code == 1
    assert "--home" in err
    assert (tmp_path / "work").read_text() == "mine"
