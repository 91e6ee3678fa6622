"""What a resumed snapshot reads at a time, and where a server that took over goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from trunkline.connectors.mysql import failover, rest
from trunkline.connectors.mysql.beginning import Beginning
from trunkline.connectors.mysql.capture import Capture
from trunkline.connectors.mysql.catalog import Table
from trunkline.connectors.mysql.preflight import Server
from trunkline.connectors.mysql.rest import Rest
from trunkline.errors import SourceError

CAPTURE = Capture({}, ["s.a", "s.b"], 7, 1, False, threading.Event())
STORED = {"point": "log.1:4", "taken": "2026-11-30T12:00:00+00:00"}


def rows_before_a_pause(monkeypatch: pytest.MonkeyPatch, *keys: list[bytes]) -> tuple[int, Rest]:
    """How many of a table's rows are read when the time is over at once, and what is left."""

    def rows_of(*_: Any) -> Iterator[tuple[list[dict[str, Any]], list[bytes]]]:
        yield from (([{"id": n}], key) for n, key in enumerate(keys))

    monkeypatch.setattr(rest, "rows_of", rows_of)
    monkeypatch.setattr(rest, "estimate", lambda *_: None)
    left = Rest.stored({**STORED, "left": {"s.a": {"rows": 0, "after": None}}})
    table = Table("s.a", (), ("id",), "u@h")
    beginning = Beginning(CAPTURE, with_snapshot=True)
    batches = list(beginning._rows(None, [table], left, {}, 1, enough=-1.0))  # type: ignore[arg-type]
    return len(batches), left


def test_a_table_that_can_be_gone_on_with_makes_way_for_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, left = rows_before_a_pause(monkeypatch, [b"0"], [b"1"], [b"2"])
    assert (read, bool(left)) == (1, True)


def test_a_table_that_would_begin_again_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    read, left = rows_before_a_pause(monkeypatch, [], [], [])
    assert (read, bool(left)) == (3, False)


class Asking:
    """A session whose server has nothing to send."""

    def run(self, *_: Any) -> None: ...

    def send(self, *_: Any) -> Asking:
        return self

    def receive(self) -> list[bytes]:
        return [b"\xfe"]

    def close(self) -> None: ...


def test_a_log_that_grows_while_it_is_asked_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = iter([100, 100, 100, 250])
    monkeypatch.setattr(Capture, "connected", lambda _: Asking())
    monkeypatch.setattr(failover, "set_up", lambda *_: None)
    monkeypatch.setattr(failover, "register", lambda *_: None)
    monkeypatch.setattr(
        failover, "master_status", lambda _: {"File": "log.000002", "Position": next(ends)}
    )
    asked: Any = (CAPTURE, None, Server({}), {"gtids": {"0": "0-1-5"}})
    assert failover._place(*asked).at == 100
    with pytest.raises(SourceError, match="asked again"):
        failover._place(*asked)
