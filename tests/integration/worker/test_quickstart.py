"""The quickstart as a newcomer does it: every file saved, every command run, every output read."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from docs_pages import ROOT, Block, blocks_of
from trunkline.local.ports import free_port
from trunkline.local.stack import Endpoints

QUICKSTART = blocks_of(ROOT / "docs" / "quickstart.md")
ELSEWHERE = ("make setup", ". .venv", "mkdir ", "trunkline up", "trunkline down")
"""Commands that make what this test has already: an environment, a folder, the servers."""
SECONDS = 30


class Newcomer:
    """Follows the page in a folder of its own; ports and topics are of this run alone."""

    def __init__(self, folder: Path, servers: Endpoints) -> None:
        self.folder = folder
        self.health = free_port()
        self.shop = free_port()
        self.topics = f"quickstart-{uuid.uuid4().hex[:8]}"
        self.worker: subprocess.Popen[str] | None = None
        self.environ = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "TRUNKLINE_BOOTSTRAP": servers.bootstrap,
            "TRUNKLINE_REGISTRY": servers.registry,
            "TRUNKLINE_PARAMS_SHOP_PORT": str(self.shop),
        }

    def own(self, text: str) -> str:
        """The page's text with the names and ports of this run."""
        text = text.replace("localhost:8085", f"localhost:{self.shop}")
        text = text.replace("8090", str(self.health))
        return re.sub(r"\bquickstart\b", self.topics, text)

    def save(self, block: Block) -> None:
        (self.folder / block.title).write_text(self.own(block.text))

    def do(self, block: Block) -> str:
        """Run the block's commands; returns their output."""
        return "".join(self.run(self.own(line)) for line in block.commands)

    def run(self, command: str) -> str:
        if command.startswith(ELSEWHERE):
            return ""
        if command.startswith("trunkline run"):
            self.start(command)
            return ""
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", command],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=2 * SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, command: str) -> None:
        """Start the worker and wait until it is ready."""
        with open(self.folder / "worker.log", "w") as log:
            self.worker = subprocess.Popen(
                command.split(), cwd=self.folder, env=self.environ, stderr=log, text=True
            )
        deadline = time.monotonic() + 2 * SECONDS
        while not self.is_ready():
            assert self.worker.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health}/readyz"):
                return True
        except urllib.error.URLError:
            return False

    def log(self) -> str:
        return (self.folder / "worker.log").read_text()

    def stop(self) -> int:
        """Ctrl-C; returns the exit code."""
        assert self.worker is not None
        self.worker.send_signal(signal.SIGINT)
        return self.worker.wait(2 * SECONDS)


@pytest.fixture
def newcomer(tmp_path: Path, stack: Endpoints) -> Iterator[Newcomer]:
    newcomer = Newcomer(tmp_path, stack)
    yield newcomer
    if newcomer.worker is not None and newcomer.worker.poll() is None:
        newcomer.worker.kill()
        newcomer.worker.wait()


def expected(block: Block, following: Block | None) -> str | None:
    """The output that the page shows right after a block of commands, if it does."""
    shows = following is not None and following.language == "text"
    return following.text if shows and following is not None else None


def test_the_quickstart(newcomer: Newcomer) -> None:
    for block, following in pairwise([*QUICKSTART, None]):
        assert block is not None
        if block.title:
            newcomer.save(block)
        elif block.language == "bash":
            follow(newcomer, block, expected(block, following))
    dead_letter = newcomer.do(next(block for block in QUICKSTART if "dlq show" in block.text))
    assert dead_letter.rstrip().endswith("KeyError: 'status'")
    assert "tl_stage: publish" in dead_letter
    assert newcomer.stop() == 0


def follow(newcomer: Newcomer, block: Block, output: str | None) -> None:
    """Do what the page says; what is only asked may need "a moment"."""
    said = newcomer.do(block)
    if output is None:
        return
    deadline = time.monotonic() + SECONDS
    while said.rstrip() != newcomer.own(output).rstrip():
        sends = any(" -d " in line for line in block.commands)
        assert not sends, f"{block}: {said!r}"
        assert time.monotonic() < deadline, f"{block}: {said!r}\n{newcomer.log()}"
        time.sleep(0.2)
        said = newcomer.do(block)
