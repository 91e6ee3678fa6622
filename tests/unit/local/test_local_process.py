"""Child processes, with real ones: they start, serve, fail, stop, and never stay behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trunkline.local.ports import PortTaken, free_port, require_free
from trunkline.local.process import Child, Command, ProcessError, run

STUBBORN = """
import pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path("serving").touch()
time.sleep(600)
"""
SUPERVISOR = """
import pathlib, sys, time
from trunkline.local.process import Child, Command
here = pathlib.Path(sys.argv[1])
child = Child(Command("sleeper", ("/bin/sleep", "600"), here / "log", lambda pid: True, here))
print(child.pid, flush=True)
time.sleep(600)
"""


def python(tmp_path: Path, program: str, *, ready: float = 30, stop: float = 30) -> Command:
    return Command(
        name="tester",
        arguments=(sys.executable, "-c", program),
        log=tmp_path / "log",
        ready=lambda pid: (tmp_path / "serving").exists(),
        cwd=tmp_path,
        ready_seconds=ready,
        stop_seconds=stop,
    )


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while is_running(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.02)


def test_one_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    child = Child(python(tmp_path, STUBBORN, stop=0.2))
    child.wait_ready()
    assert child.alive
    child.stop()
    assert child.ending == "was killed by SIGKILL"


def test_one_that_ends_at_start_shows_its_log(tmp_path: Path) -> None:
    child = Child(python(tmp_path, "import sys; sys.exit('no room for me')"))
    with pytest.raises(ProcessError, match=r"(?s)tester exited with 1 at start.*no room for me"):
        child.wait_ready()


def test_one_that_does_not_come_up_in_time(tmp_path: Path) -> None:
    child = Child(python(tmp_path, "import time; time.sleep(600)", ready=0.1))
    try:
        with pytest.raises(ProcessError, match="tester is not ready after"):
            child.wait_ready()
    finally:
        child.stop()


def test_a_preparation_that_fails_shows_its_log(tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match=r"(?s)tester failed \(exit code 3\).*bad format"):
        run(python(tmp_path, "print('bad format', flush=True); raise SystemExit(3)"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_children_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SUPERVISOR, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        pid = int(supervisor.stdout.readline())
        assert is_running(pid)
        supervisor.send_signal(signal.SIGKILL)
    wait_until_gone(pid)


def test_a_taken_port_is_named_with_its_owner(tmp_path: Path) -> None:
    port = free_port()
    server = f"""
import pathlib, socket, time
taken = socket.create_server(("127.0.0.1", {port}))
pathlib.Path("serving").touch()
time.sleep(600)
"""
    child = Child(python(tmp_path, server))
    try:
        child.wait_ready()
        with pytest.raises(PortTaken, match=rf"kafka needs port {port}.*\(pid {child.pid}\)"):
            require_free("kafka", port)
    finally:
        child.stop()
    require_free("kafka", port)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_can_start_a_child_as_nobody(tmp_path: Path) -> None:
    command = Command("id", ("/usr/bin/id", "-un"), tmp_path / "log", lambda pid: True, tmp_path)
    run(Command(**{**vars(command), "user": "nobody"}))
    assert (tmp_path / "log").read_text().strip() == "nobody"
