"""A reader who follows a page: saves each file that it shows, runs each command, reads the output.

A block of bash is commands, a line each, in one shell's words: ``cd`` and ``export`` count for what
follows; ``# exit code 2`` behind one says how it ends. A block of text right behind is its output.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from docs_pages import Block

SECONDS = 30
_EXIT_CODE = re.compile(r"# exit code (\d)")


def reader_environ() -> dict[str, str]:
    """The process environment, with this environment's programs in front, and nobody's Kafka."""
    bin_ = Path(sys.executable).parent
    ours = {name: text for name, text in os.environ.items() if not name.startswith("TRUNKLINE_")}
    kept = {name: os.environ[name] for name in ("TRUNKLINE_CACHE",) if name in os.environ}
    return {**ours, **kept, "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}"}


@dataclass
class Reader:
    """``folder``: where the commands run; ``health``: the port of the worker's health pages;
    ``instead``: what this run has for names and ports of the page, as patterns; ``elsewhere``: how
    commands begin that make what this run has already; ``of_worker``: what the environment of a
    worker has besides ``environ``."""

    folder: Path
    health: int
    instead: Mapping[str, str] = field(default_factory=dict)
    elsewhere: tuple[str, ...] = ()
    environ: dict[str, str] = field(default_factory=reader_environ)
    of_worker: Mapping[str, str] = field(default_factory=dict)
    worker: subprocess.Popen[str] | None = None

    def own(self, text: str) -> str:
        """The page's text with the names and ports of this run."""
        for pattern, ours in {r"\b8090\b": str(self.health), **self.instead}.items():
            text = re.sub(pattern, ours, text)
        return text

    def follow(self, page: Iterable[Block]) -> None:
        """Do what the page says, to its end; what is only asked may need "a moment"."""
        for block, following in pairwise([*page, None]):
            assert block is not None
            if block.title:
                self.save(block)
            elif block.language == "bash":
                shows = following is not None and following.language == "text"
                self._do_until(block, following.text if shows and following else None)

    def save(self, block: Block) -> None:
        (self.folder / block.title).write_text(self.own(block.text))

    def do(self, block: Block) -> str:
        """Run the block's commands; returns their output."""
        return "".join(self.run(self.own(line)) for line in block.commands)

    def _do_until(self, block: Block, output: str | None) -> None:
        said = self.do(block)
        deadline = time.monotonic() + SECONDS
        while output is not None and said.rstrip() != self.own(output).rstrip():
            sends = any(" -d " in line for line in block.commands)
            assert not sends, f"{block}: {said!r}"
            assert time.monotonic() < deadline, f"{block}: {said!r}\n{self.log()}"
            time.sleep(0.2)
            said = self.do(block)

    def run(self, command: str) -> str:
        """Run a command; returns its output."""
        if command.startswith(self.elsewhere):
            return ""
        words = shlex.split(command, comments=True)
        if words[0] == "cd":
            self.folder = (self.folder / words[1]).resolve()
            return ""
        if words[0] == "export":
            self.environ.update(word.split("=", 1) for word in words[1:])
            return ""
        if words[:2] == ["trunkline", "run"]:
            self.start(words)
            return ""
        return self._ended(command)

    def _ended(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", command],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=2 * SECONDS,
            check=False,
        )
        wanted = _EXIT_CODE.search(command)
        code = int(wanted[1]) if wanted else 0
        assert done.returncode == code, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, words: list[str]) -> None:
        """Start the worker, instead of the one that runs, and wait until it is ready."""
        self.stop()
        with open(self.folder / "worker.log", "w") as log:
            self.worker = subprocess.Popen(
                words,
                cwd=self.folder,
                env={**self.environ, **self.of_worker},
                stderr=log,
                text=True,
            )
        deadline = time.monotonic() + 2 * SECONDS
        while not self._is_ready():
            assert self.worker.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health}/readyz"):
                return True
        except urllib.error.URLError:
            return False

    def log(self) -> str:
        log = self.folder / "worker.log"
        return log.read_text() if log.exists() else ""

    def stop(self) -> None:
        """Ctrl-C to the worker that runs, if any; it must end as it should."""
        if self.worker is not None:
            worker, self.worker = self.worker, None
            worker.send_signal(signal.SIGINT)
            assert worker.wait(2 * SECONDS) == 0, self.log()

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """Whatever happens, no worker is left."""
        try:
            yield self
        finally:
            if self.worker is not None:
                self.worker.kill()
                self.worker.wait()
