"""What the databases of the stack share: they refuse to run as root, and make their data once."""

from __future__ import annotations

import shutil
import signal
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from trunkline.local import artifacts
from trunkline.local.process import Command, run
from trunkline.local.server import Server, own_folder, reachable_place, unprivileged


class Database(Server):
    """A server that runs as ``nobody`` when we are root, on folders that this user can reach.

    A subclass gives its ``address``, ``installation`` and ``command``, and says in ``_is_ready``
    when it serves. ``stop`` and ``death`` are those of its ``Command``.
    """

    stop: ClassVar[signal.Signals] = signal.SIGTERM
    death: ClassVar[signal.Signals] = signal.SIGKILL

    @property
    def bundle(self) -> str:
        return artifacts.native(self.name)

    @property
    def data(self) -> Path:
        """The folder of its data, which only the user it runs as can read."""
        return reachable_place(self.home / self.name)

    @property
    def unpacked(self) -> Path:
        """The folder of its program's files. Raises ArtifactError if they cannot be had."""
        return artifacts.unpacked(self.bundle, reachable_place(artifacts.cache_dir() / "unpacked"))

    @abstractmethod
    def installation(self, data: Path) -> Command:
        """What fills the empty folder ``data`` with a new database, and ends."""

    def prepare(self) -> None:
        """Install the database, once: its folder gets its name when it is complete.

        Raises ProcessError if the installation fails; the next call begins anew.
        """
        if self.data.exists():
            return
        new = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(new, ignore_errors=True)
        own_folder(new)
        run(self.installation(new))
        new.rename(self.data)

    def _options(self, settings: Mapping[str, str]) -> list[str]:
        """The settings and the port as the server's arguments."""
        every = {**settings, "port": str(self.port)}
        return [f"--{name}={value}" for name, value in every.items()]

    def _command(self, cwd: Path, program: str, *arguments: str) -> Command:
        """Run ``arguments`` in ``cwd``, under the name ``program`` in messages."""
        return Command(
            name=program,
            arguments=arguments,
            log=self.log,
            ready=self._is_ready,
            cwd=cwd,
            user=unprivileged(),
            stop=self.stop,
            death=self.death,
        )

    @abstractmethod
    def _is_ready(self, pid: int) -> bool:
        """As ``Command.ready``."""
