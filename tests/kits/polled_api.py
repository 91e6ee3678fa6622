"""A real HTTP API on a free port, answering from a thread of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from trunkline.connectors.http import HttpPolling


@dataclass(frozen=True)
class Asked:
    """A request. ``headers``: names in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass
class Answered:
    """``body``: bytes as they are, anything else as JSON."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class PolledApi:
    """``handle`` answers; it may be replaced. ``asked``: all requests so far."""

    def __init__(self) -> None:
        self.handle: Callable[[Asked], Answered] = lambda _: Answered([])
        self.asked: list[Asked] = []
        self.url = ""

    def answers(self, *bodies: Any) -> None:
        """These answers, one after the other, and the last one for ever."""
        rest = list(bodies)

        def handle(_: Asked) -> Answered:
            body = rest.pop(0) if len(rest) > 1 else rest[0]
            return body if isinstance(body, Answered) else Answered(body)

        self.handle = handle


@contextmanager
def polled_api() -> Iterator[PolledApi]:
    api = PolledApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("content-length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(
                self.command,
                parts.path,
                dict(parse_qsl(parts.query, keep_blank_values=True)),
                headers,
                self.rfile.read(length),
            )
            api.asked.append(asked)
            answer = api.handle(asked)
            raw = answer.body
            body = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.status != 304:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if answer.status != 304:
                self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that has enough goes."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def polling(api: PolledApi, **more: Any) -> HttpPolling:
    """A source of the API's orders that looks often."""
    given: dict[str, Any] = {"key": "id", "every": "20ms", **more}
    return HttpPolling(api.url + "/orders", **given)


def items(*ids: Any) -> list[dict[str, Any]]:
    """What the API lists: an item each."""
    return [{"id": id_} for id_ in ids]
