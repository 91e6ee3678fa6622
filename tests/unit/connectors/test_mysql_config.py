"""What MySqlCDC says before it has spoken to a server."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from trunkline.connectors.mysql import MySqlCDC, stream
from trunkline.connectors.mysql.address import parse
from trunkline.connectors.mysql.packets import Packets, length_at
from trunkline.connectors.mysql.preflight import Server
from trunkline.connectors.mysql.session import connect
from trunkline.connectors.mysql.stream import Stream
from trunkline.errors import AddressError, ConfigurationError, SourceError
from trunkline.params import Secret

DSN = "mysql://me:pass@db.invalid:3307/shop"
WITHOUT_DRIVER = """
import sys
sys.modules["pymysql"] = None
from trunkline.connectors.mysql import MySqlCDC
from trunkline.errors import MissingExtra
try:
    MySqlCDC("mysql://me@nowhere/shop", ["orders"])
except MissingExtra as error:
    print(error)
"""


def test_a_missing_driver_is_named_at_construction() -> None:
    found = subprocess.run(
        [sys.executable, "-c", WITHOUT_DRIVER], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "MySqlCDC needs an extra: pip install 'trunkline[mysql]'"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tables": []}, "tables= is empty"),
        ({"tables": ["orders", "shop.orders"]}, "twice"),
        ({"tables": ["orders"], "server_id": -1}, "server_id=-1"),
        ({"tables": ["orders"], "batch": 0}, "batch=0"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        MySqlCDC(DSN, **arguments)  # type: ignore[arg-type]


def test_tables_are_of_the_dsns_database_unless_they_say() -> None:
    assert MySqlCDC(DSN, ["orders", "other.items"]).tables == ["shop.orders", "other.items"]
    with pytest.raises(ConfigurationError, match=r"database\.table"):
        MySqlCDC("mysql://me@db.invalid", ["orders"])


def test_the_server_id_is_the_tables() -> None:
    one = MySqlCDC(DSN, ["a", "b"])
    assert one.server_id == MySqlCDC(DSN, ["b", "a"]).server_id
    assert one.server_id != MySqlCDC(DSN, ["a"]).server_id
    assert MySqlCDC(DSN, ["a"], server_id=7).server_id == 7


@pytest.mark.parametrize(
    "dsn",
    ["postgresql://me:s3cret@db/shop", "mysql://me:s3cr@et/x@db.invalid/shop", "mysql://",
     "mysql://me:s3/cret@db.invalid/shop", "mysql://me:123#s3@db.invalid/shop", "mysql://me:s3cret@db.invalid:port/shop",
     "mysql://me:s3cret@db.invalid/shop?tls=yes", "mysql://me:s3cret@db.invalid/shop?ssl=maybe"],
)  # fmt: skip
def test_a_dsn_that_cannot_be_read_shows_nothing_of_the_password(dsn: str) -> None:
    with pytest.raises(AddressError) as raised:
        MySqlCDC(Secret(dsn), ["orders"])
    assert "s3" not in str(raised.value)
    assert "123" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("greeting", [b"", b"\x0a8.4\0", b"\x0a8.4\0" + bytes(20)])
def test_a_server_that_speaks_otherwise_is_told_of(greeting: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as accepted:
                accepted.sendall(len(greeting).to_bytes(3, "little") + b"\0" + greeting)
                accepted.recv(1)

        threading.Thread(target=answer, daemon=True).start()
        arguments, _ = parse(f"mysql://me@127.0.0.1:{server.getsockname()[1]}/shop")
        with pytest.raises(SourceError, match="connecting 'me'"):
            connect(arguments, threading.Event())


class Elsewhere:
    """A session that a proxy has led to another server."""

    thread = 7

    def __init__(self, server: Server) -> None:
        self.server, self.killed = server, False

    def variables(self, *names: str) -> Mapping[str, str]:
        return self.server.variables

    def run(self, statement: str) -> None:
        self.killed = statement == "KILL 7"

    def close(self) -> None:
        pass


def ended(session: Elsewhere, arguments: dict[str, Any]) -> Stream:
    """A stream whose server is ``ours``, and ``session`` that of its log."""
    opened = Stream.__new__(Stream)
    opened._session = session  # type: ignore[assignment]
    opened._arguments, opened._server = arguments, Server({"server_uuid": "ours"})
    opened._sends = True
    return opened


def test_the_end_of_a_stream_waits_for_no_server_that_hangs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        arguments, _ = parse(f"mysql://me@127.0.0.1:{hangs.getsockname()[1]}/shop")
        opened = ended(Elsewhere(Server({})), arguments)
        closing = threading.Thread(target=opened.close, daemon=True)
        closing.start()
        closing.join(20)
        assert not closing.is_alive()


@pytest.mark.parametrize("uuid", ["ours", "other"])
def test_the_end_of_a_stream_kills_nobody_elsewhere(
    monkeypatch: pytest.MonkeyPatch, uuid: str
) -> None:
    session = Elsewhere(Server({"server_uuid": uuid}))
    monkeypatch.setattr(stream, "connect", lambda *_: session)
    ended(session, {}).close()
    assert session.killed == (uuid == "ours")


def test_packets_come_whole_however_they_are_cut() -> None:
    payloads = [b"", b"a", b"bc" * 300, bytes(70_000), b"d"]
    wire = b"".join(len(each).to_bytes(3, "little") + b"\0" + each for each in payloads)
    for size in (1, 2, 3, 5, 1000, 70_005, len(wire)):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            packets, found = Packets(ours, 0.01), []
            step = size if size > 5 else 997 + size
            for at in range(0, len(wire), step):
                theirs.sendall(wire[at : at + step])
                found += packets.receive()
            while arrived := packets.receive():
                found += arrived
            assert found == payloads
            theirs.close()
            with pytest.raises(SourceError, match="closed"):
                packets.receive()


def test_a_payload_may_be_longer_than_a_packet() -> None:
    ours, theirs = socket.socketpair()
    packets = Packets(ours, 0.01)
    with ours, theirs:
        whole = packets._split(b"\xff\xff\xff\0" + bytes(0xFFFFFF)) + packets._split(
            b"\x01\0\0\1x" + b"\x01\0\0\2y"
        )
    assert [len(each) for each in whole] == [0x1000000, 1]


def test_lengths() -> None:
    cases = {
        b"\xfa": 250,
        b"\xfc\x01\x02": 513,
        b"\xfd\1\0\1": 65537,
        b"\xfe" + b"\1" * 8: 0x0101010101010101,
    }
    assert {data: length_at(data, 0) for data in cases} == {
        data: (value, len(data)) for data, value in cases.items()
    }
