"""One system under test: a program in processes of its own, with its log."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.errors import BenchmarkError

ROOT = Path(__file__).resolve().parent.parent
STOP_SECONDS = 30


class Program:
    """A running program; a context manager that ends it: SIGTERM first, then its whole group."""

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> None:
        """Raises BenchmarkError if the program has ended."""
        code = self._process.poll()
        if code is not None:
            raise BenchmarkError(f"ended with {code}; its log {self.log} ends:\n{self._tail()}")

    def wait(self, seconds: float) -> None:
        """Wait until it has ended well. Raises BenchmarkError if it does not."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise BenchmarkError(f"still runs after {seconds:.0f} s; see {self.log}") from None
        if code:
            raise BenchmarkError(f"ended with {code}; its log {self.log} ends:\n{self._tail()}")

    def pause(self) -> None:
        """Let all its processes stand still."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        os.killpg(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it as an operator would; what does not end is killed."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._kill_group()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _kill_group(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def _tail(self) -> str:
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-20:])
