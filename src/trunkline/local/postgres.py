"""PostgreSQL from the zonky binaries, ready for logical replication.

Superuser ``postgres``, database ``postgres``, trusted from this machine without a password.
It refuses to run as root: then it runs as ``nobody``, on folders that this user can reach.
"""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

from trunkline.local import artifacts
from trunkline.local.process import Command, run
from trunkline.local.server import Server, own_folder, reachable_place, unprivileged

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "wal_level": "logical",
    "max_wal_senders": "20",
    "max_replication_slots": "20",
    "shared_buffers": "64MB",
    "fsync": "on",
}


class Postgres(Server):
    name = "postgres"

    @property
    def bundle(self) -> str:
        return artifacts.native("postgres")

    @property
    def address(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def data(self) -> Path:
        return reachable_place(self.home / "postgres")

    def prepare(self) -> None:
        """``initdb``, once: its folder gets its name when it is complete."""
        if self.data.exists():
            return
        new = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(new, ignore_errors=True)
        own_folder(new)
        options = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C")
        run(self._command(new, "initdb", "--pgdata=.", "--no-instructions", *options))
        new.rename(self.data)

    def command(self) -> Command:
        settings = {**SETTINGS, "port": str(self.port)}
        options = [f"--{name}={value}" for name, value in settings.items()]
        return self._command(self.data, "postgres", "-D", ".", *options)

    def _command(self, cwd: Path, program: str, *options: str) -> Command:
        return Command(
            name=program,
            arguments=(self._binary(program), *options),
            log=self.log,
            ready=self._is_ready,
            cwd=cwd,
            user=unprivileged(),
            stop=signal.SIGINT,  # "fast": does not wait for clients, as SIGTERM would
            death=signal.SIGQUIT,
        )

    def _binary(self, program: str) -> str:
        place = reachable_place(artifacts.cache_dir() / "unpacked")
        return str(artifacts.unpacked(self.bundle, place) / "bin" / program)

    def _is_ready(self, pid: int) -> bool:
        """The postmaster writes its state to the 8th line of postmaster.pid, as pg_ctl reads it."""
        lines = (self.data / "postmaster.pid").read_text("utf-8").splitlines()
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"
