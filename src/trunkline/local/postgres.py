"""PostgreSQL from the zonky binaries, ready for logical replication."""

from __future__ import annotations

import signal
from pathlib import Path

from trunkline.local.database import Database
from trunkline.local.process import Command

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "wal_level": "logical",
    "max_wal_senders": "20",
    "max_replication_slots": "20",
    "shared_buffers": "64MB",
    "fsync": "on",
}


class Postgres(Database):
    """Superuser and database ``postgres``, trusted from this machine without a password."""

    name = "postgres"
    stop = signal.SIGINT  # "fast": does not wait for clients, as SIGTERM would
    death = signal.SIGQUIT

    @property
    def address(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def installation(self, data: Path) -> Command:
        options = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C")
        return self._program(data, "initdb", "--pgdata=.", "--no-instructions", *options)

    def command(self) -> Command:
        return self._program(self.data, "postgres", "-D", ".", *self._options(SETTINGS))

    def _program(self, cwd: Path, name: str, *options: str) -> Command:
        return self._command(cwd, name, str(self.unpacked / "bin" / name), *options)

    def _is_ready(self, pid: int) -> bool:
        """The postmaster writes its state to the 8th line of postmaster.pid, as pg_ctl reads it."""
        lines = (self.data / "postmaster.pid").read_text("utf-8").splitlines()
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"
