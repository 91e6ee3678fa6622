"""The connector of docs/connectors/writing-a-connector.md is one: it passes the suite."""

from __future__ import annotations

import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trunkline.connectors.base import Sink
from trunkline.connectors.contract import SinkContract
from trunkline.event import Event

PAGE = Path(__file__).parents[2] / "docs/connectors/writing-a-connector.md"


def documented(name: str) -> Any:
    """What the page's first Python block defines."""
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    defined: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), defined)
    return defined[name]


class Legacy(socketserver.ThreadingTCPServer):
    """One line of text a connection: id, key, revision; OK or NO."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.revisions: dict[str, int] = {}
        self.seen: set[str] = set()


class _Handler(socketserver.StreamRequestHandler):
    server: Legacy

    def handle(self) -> None:
        id, key, revision = self.rfile.readline().decode().split() or ("", "", "-1")
        if int(revision) < 0:
            self.wfile.write(b"NO\n")
            return
        if id not in self.server.seen:
            self.server.seen.add(id)
            self.server.revisions[key] = int(revision)
        self.wfile.write(b"OK\n")


class TestLegacySink(SinkContract):
    @pytest.fixture(autouse=True)
    def _system(self) -> Iterator[None]:
        with Legacy() as self.system:
            thread = threading.Thread(target=self.system.serve_forever, args=(0.01,))
            thread.start()
            yield
            self.system.shutdown()
            thread.join()

    def sink(self) -> Sink[Any]:
        return self.on_port(self.system.server_address[1])

    def on_port(self, port: int) -> Sink[Any]:
        sink: Sink[Any] = documented("LegacySink")("127.0.0.1", port)
        return sink

    def contents(self) -> dict[str, int]:
        return dict(self.system.revisions)

    def effects(self) -> int:
        return len(self.system.seen)

    def data(self, key: str, revision: int) -> Any:
        return {"id": key, "status": str(revision)}

    def unreachable_sink(self) -> Sink[Any]:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            return self.on_port(taken.getsockname()[1])

    def unacceptable(self, key: str) -> Event[Any]:
        return self.event(key, -1)
