"""What MySqlCDC finds out of a server, and what it says to run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from trunkline.connectors.mysql import beginning, catalog, changes, check, preflight
from trunkline.connectors.mysql.session import Denied, Session
from trunkline.errors import SourceError

WELL = {
    "log_bin": "ON",
    "binlog_format": "ROW",
    "binlog_row_image": "FULL",
    "binlog_row_metadata": "FULL",
    "binlog_expire_logs_seconds": "0",
    "version": "11.4.5-MariaDB",
}
COLUMNS = [("id", "int", "int(11)", None, None)]


class Asked:
    """A server's answers. ``denied``: what begins a statement for which a right is missing."""

    def __init__(self, denied: tuple[str, ...] = (), **variables: str) -> None:
        self._denied = denied
        self._variables = WELL | variables
        self.replications = 0
        self._answers: dict[str, list[tuple[Any, ...]]] = {
            catalog._TABLE: [("BASE TABLE", "InnoDB")],
            catalog._COLUMNS: COLUMNS,
            catalog._KEY: [("id", None)],
        }

    def variables(self, *names: str) -> dict[str, str]:
        return self._variables

    def user(self) -> str:
        return "'me'@'%'"

    def rows(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        if statement.startswith(self._denied):
            raise Denied(f"MySQL, {statement}: denied")
        if statement == "SHOW REPLICA STATUS" and "MariaDB" not in self._variables["version"]:
            raise SourceError("unknown")
        if "Slaves_running" in statement:
            return [("Slaves_running", str(self.replications))]
        return self._answers.get(statement, [])

    def run(self, statement: str) -> None:
        self.rows(statement)

    def table(self, statement: str) -> list[dict[str, object]]:
        self.rows(statement)
        return [{"File": "binlog.000001", "Position": 4}]


@pytest.mark.parametrize("prepared", [0, 2])
def test_xa_transactions_that_are_prepared_are_warned_of(
    caplog: pytest.LogCaptureFixture, prepared: int
) -> None:
    asked = Asked()
    asked._answers["XA RECOVER"] = [(1, 1, 0, b"a")] * prepared
    beginning._warn_of_prepared(cast(Session, asked))
    assert ("2 XA transactions are prepared" in caplog.text) == bool(prepared)
    beginning._warn_of_prepared(cast(Session, Asked(("XA",))))


STORED = {"server": "1/old", "file": "binlog.000001", "at": 99, "gtids": {"0": "0-1-5"}}


@pytest.mark.parametrize(
    ("at_the_position", "stored", "variables", "same"),
    [
        ("0-1-5", {"server": "1/new"}, {}, True),
        ("0-1-5", {}, {}, True),
        ("0-1-6", {}, {}, False),
        ("0-1-5,1-1-2", {}, {}, False),
        (None, {}, {}, False),
        ("", {"gtids": {}}, {}, False),
        ("0-1-5", {"server": "2/old"}, {}, False),
        ("0-1-5", {}, {"version": "8.4.3", "server_uuid": "new"}, False),
    ],
)
def test_a_mariadb_with_another_network_card_is_known_by_its_log(
    at_the_position: str | None, stored: dict[str, Any], variables: dict[str, str], same: bool
) -> None:
    asked = Asked(server_id="1", server_uid="new")
    asked._variables |= variables
    asked._answers["SELECT BINLOG_GTID_POS(%s, %s)"] = [(at_the_position,)]
    session = cast(Session, asked)
    assert changes._is_of(session, preflight.ask(session), STORED | stored) == same


def found(server: Asked) -> list[str]:
    session = cast(Session, server)
    return list(preflight.faults(session, preflight.ask(session), ["shop"]))


@pytest.mark.parametrize("running", [0, 1])
def test_a_replica_that_logs_nothing_is_told_without_the_right_to_ask(running: int) -> None:
    server = Asked(("SHOW REPLICA", "SHOW SLAVE"), log_slave_updates="OFF")
    server.replications = running
    assert [fault[:23] for fault in found(server)] == ["the server is a replica"] * running


def test_a_server_that_is_as_it_must_be_has_no_findings() -> None:
    assert check.findings(cast(Session, Asked()), ["shop.t"]) == []


@pytest.mark.parametrize(
    ("change", "mend"),
    [
        (lambda: Asked(binlog_format="MIXED"), "SET GLOBAL binlog_format = 'ROW';"),
        (lambda: Asked(binlog_row_value_options="X"), "SET GLOBAL binlog_row_value_options = '';"),
        (lambda: Asked(("SHOW MASTER",)), "GRANT REPLICATION CLIENT ON *.* TO 'me'@'%';"),
        (lambda: Asked(("SELECT 1 FROM",)), "GRANT SELECT ON `shop`.`t` TO 'me'@'%';"),
        (lambda: Asked(gtid_mode="ON_PERMISSIVE"), ""),
        (lambda: Asked(log_bin="OFF"), ""),
    ],
)
def test_a_fault_comes_with_what_mends_it(change: Callable[[], Asked], mend: str) -> None:
    (fault,) = check.findings(cast(Session, change()), ["shop.t"])
    assert fault.mend == mend
    assert not fault.warning
    assert mend in fault.what


@pytest.mark.parametrize(
    ("kind", "said"),
    [("VIEW", "is a view"), ("SEQUENCE", "is a sequence"), ("SYSTEM VERSIONED", "t is system-v")],
)
def test_what_is_no_plain_table_is_refused(kind: str, said: str) -> None:
    server = Asked()
    server._answers[catalog._TABLE] = [(kind, "InnoDB")]
    (fault,) = check.findings(cast(Session, server), ["shop.t"])
    assert said in fault.what


@pytest.mark.parametrize(
    ("type_", "full", "read"),
    [
        ("enum", "enum('compressed','mariadb-5.3')", True),
        ("text", "text /*M!100301 COMPRESSED*/", False),
        ("datetime", "datetime /* mariadb-5.3 */", False),
        ("datetime", "datetime", True),
        ("inet6", "inet6", False),
    ],
)
def test_a_column_that_the_log_has_in_another_form_is_refused(
    type_: str, full: str, read: bool
) -> None:
    server = Asked()
    server._answers[catalog._COLUMNS] = [*COLUMNS, ("a", type_, full, "utf8mb4", None)]
    found = check.findings(cast(Session, server), ["shop.t"])
    assert ["column a" in fault.what for fault in found] == [True] * (not read)


def test_all_is_told_at_once_and_warnings_last() -> None:
    server = Asked(binlog_format="MIXED", slave_connections_needed_for_purge="1")
    server._answers[catalog._KEY] = []
    key, warning = check.findings(cast(Session, server), ["shop.t"])[1:]
    assert "ADD PRIMARY KEY" in key.what
    assert warning.warning
    assert "purges nothing" in warning.what
