"""A broker of a test's own, which can be killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from trunkline.local.kafka import Kafka
from trunkline.local.ports import free_port
from trunkline.local.process import Child
from worker_kit import eventually


class Broker:
    """A Kafka of this test's own. A context manager."""

    def __init__(self, home: Path) -> None:
        self._server = Kafka(home, free_port())
        self.address = self._server.address

    def up(self) -> None:
        self._child = Child(self._server.command())
        self._child.wait_ready()

    def kill(self) -> None:
        os.kill(self._child.pid, signal.SIGKILL)
        eventually(lambda: not self._child.alive, "it is dead")

    def __enter__(self) -> Broker:
        self._server.prepare()
        self.up()
        return self

    def __exit__(self, *failure: object) -> None:
        self._child.stop()
