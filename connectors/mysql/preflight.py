"""What the server must be set to, so that its log has everything: asked before the first row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from trunkline.connectors.mysql.session import Denied, Session
from trunkline.errors import SourceError

_DAY = 86_400
_VARIABLES = (
    "log_bin", "binlog_format", "binlog_row_image", "binlog_row_metadata", "binlog_checksum",
    "binlog_row_value_options", "gtid_mode", "server_id",
    "server_uuid", "server_uid", "version", "binlog_expire_logs_seconds",
    "slave_connections_needed_for_purge", "lower_case_table_names", "log_slave_updates",
    "log_replica_updates", "max_binlog_total_size", "binlog_space_limit",
)  # fmt: skip
_WANTED = {
    "binlog_format": "ROW",
    "binlog_row_image": "FULL",
    "binlog_row_metadata": "FULL",
}


class Server(NamedTuple):
    """What is to be known of a server."""

    variables: Mapping[str, str]

    @property
    def maria(self) -> bool:
        """Whether it is MariaDB."""
        return "mariadb" in self.variables.get("version", "").lower()

    @property
    def identity(self) -> str:
        """What tells it from every other server."""
        unique = self.variables.get("server_uuid") or self.variables.get("server_uid", "")
        return f"{self.variables.get('server_id', '')}/{unique}"

    @property
    def folds(self) -> bool:
        """Whether names of tables are the same in whatever case."""
        return self.variables.get("lower_case_table_names", "0") != "0"

    @property
    def checksum(self) -> str:
        """CRC32 or NONE."""
        return self.variables.get("binlog_checksum", "NONE")


def ask(session: Session) -> Server:
    """The server's settings."""
    return Server(session.variables(*_VARIABLES))


def require_same(session: Session, server: Server) -> None:
    """Raises SourceError if this session is with another server than the one that was asked: each
    connection may lead elsewhere, behind a name or a proxy."""
    other = ask(session)
    if other.identity != server.identity:
        raise SourceError(
            f"one connection came to server {server.identity} (server_id and unique id) and the "
            f"next one to {other.identity}: let dsn name one server"
        )


def faults(session: Session, server: Server, databases: Sequence[str]) -> Iterator[str]:
    """Everything that keeps changes out of the log, or us from reading it, with the SQL that mends
    it."""
    variables = server.variables
    if variables.get("log_bin") != "ON":
        yield (
            "the server writes no binary log: write log_bin = binlog and server_id = <number> into "
            "its configuration, and restart it"
        )
        return
    for name, wanted in _WANTED.items():
        if name not in variables:
            yield (
                f"the server has no {name}: MySQL 8.0 or newer, or MariaDB 10.6 or newer, is needed"
            )
        elif variables[name].upper() != wanted:
            yield (
                f"{name} is {variables[name]}: run SET GLOBAL {name} = '{wanted}'; and write it "
                "into the server's configuration. Sessions that are open keep the old one until "
                "they connect again"
            )
    if variables.get("gtid_mode", "OFF") not in ("ON", "OFF"):
        yield (
            f"gtid_mode is {variables['gtid_mode']}, a step between ON and OFF: run SET GLOBAL "
            "gtid_mode step by step up to 'ON', as MySQL's manual says"
        )
    if variables.get("binlog_row_value_options"):
        yield (
            "updates of JSON are in the log in part: run SET GLOBAL binlog_row_value_options = '';"
        )
    kept = int(float(variables.get("binlog_expire_logs_seconds", "0") or 0))
    if 0 < kept < _DAY:
        yield (
            f"the log is kept for {kept} s only, and a source that is down for longer loses "
            f"changes: run SET GLOBAL binlog_expire_logs_seconds = {3 * _DAY};"
        )
    yield from _filtered(session, server, databases)


def warnings(server: Server) -> Iterator[str]:
    """What may become trouble, and is allowed."""
    if server.variables.get("slave_connections_needed_for_purge", "0") not in ("0", ""):
        yield (
            "slave_connections_needed_for_purge is "
            f"{server.variables['slave_connections_needed_for_purge']}: while fewer replicas are "
            "connected, this source among them, MariaDB purges nothing, and the log grows until "
            "the disk is full. SET GLOBAL slave_connections_needed_for_purge = 0; has it purge "
            "by age and size alone, whoever still needs it"
        )
    for name in ("max_binlog_total_size", "binlog_space_limit"):
        if server.variables.get(name, "0") not in ("0", ""):
            yield (
                f"{name} is {server.variables[name]}: a log that grows beyond it is purged, also "
                "if this source has not read it"
            )
            return


def _filtered(session: Session, server: Server, databases: Sequence[str]) -> Iterator[str]:
    """Databases that the server leaves out of its log; and a replica that logs nothing."""
    try:
        status = master_status(session)
    except Denied as error:
        yield f"{error}: run GRANT REPLICATION CLIENT ON *.* TO {session.user()};"
        return
    do = [name for name in str(status.get("Binlog_Do_DB") or "").split(",") if name]
    ignored = str(status.get("Binlog_Ignore_DB") or "").split(",")
    for database in databases:
        if database in ignored or (do and database not in do):
            yield (
                f"database {database} is left out of the log: change binlog_do_db and "
                "binlog_ignore_db in the server's configuration, and restart it"
            )
    logs = server.variables.get("log_replica_updates", server.variables.get("log_slave_updates"))
    if logs == "OFF" and _is_replica(session):
        yield (
            "the server is a replica that does not log what it replicates: write log_slave_updates "
            "into its configuration and restart it, or read from its primary"
        )


def _is_replica(session: Session) -> bool:
    for statement in ("SHOW REPLICA STATUS", "SHOW SLAVE STATUS"):
        try:
            return bool(session.rows(statement))
        except Denied:
            break
        except SourceError:  # a server that does not know this word for it
            continue
    # MariaDB wants REPLICA MONITOR for it, but tells everybody how many replications run.
    running = session.rows("SHOW GLOBAL STATUS LIKE 'Slaves_running'")
    return any(int(count) for _, count in running)


def master_status(session: Session) -> dict[str, object]:
    """Where the log ends: ``File`` and ``Position``, and which databases it leaves out.

    Raises Denied without REPLICATION CLIENT, SourceError without a log.
    """
    try:
        found = session.table("SHOW MASTER STATUS")
    except Denied:
        raise
    except SourceError:  # MySQL 8.4 and newer
        found = session.table("SHOW BINARY LOG STATUS")
    if not found:
        raise SourceError("the server has no binary log")
    return found[0]


def others_of(session: Session, server_id: int) -> list[str]:
    """Who else reads the log under this number. [] if the user may not ask."""
    for statement in ("SHOW REPLICAS", "SHOW SLAVE HOSTS"):
        try:
            rows = session.rows(statement)
        except Denied:
            return []
        except SourceError:
            continue
        return [str(row[1]) for row in rows if int(row[0]) == server_id]
    return []
