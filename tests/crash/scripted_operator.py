"""Somebody who decides about halted events, by the command line, again and again: now they are
tried once more, now those that are dead are discarded."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from itertools import cycle

PAUSE = 6.0
"""Seconds between two decisions."""
ASKING = 60.0
"""Seconds that a command may take: Kafka may be away."""


class Operator:
    """Decides about the dead letters of ``destination``, as ``flow.name``. A context manager.

    ``environ``: the backbone's addresses. ``exits``: how often each command ended with which code:
    while Kafka is away it fails, and is repeated.
    """

    def __init__(self, destination: str, environ: Mapping[str, str]) -> None:
        self._destination = destination
        self._environ = {**os.environ, **environ}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.exits: Counter[str] = Counter()

    def __enter__(self) -> Operator:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        for command in cycle(("redrive", "discard")):
            if self._over.wait(PAUSE):
                return
            self._decide(command)

    def _decide(self, command: str) -> None:
        asked = [sys.executable, "-m", "trunkline", "dlq", command, self._destination]
        done = subprocess.run(
            [*asked, "--yes", "--detach", "--why", "crash"],
            env=self._environ,
            timeout=ASKING,
            capture_output=True,
            text=True,
            check=False,
        )
        self.exits[f"{command} {done.returncode}"] += 1
        if done.returncode:
            print(f"the {command} failed: {done.stdout[-400:]}{done.stderr[-400:]}", flush=True)
