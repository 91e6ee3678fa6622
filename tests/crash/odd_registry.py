"""A schema registry that answers nonsense: a proxy before the real one, in a thread.

Of an id that the registry has it says nonsense one time in three, so whoever asks again gets the
schema in the end: nothing may be lost by that. Of the ids in REFUSED it says the same for good.
What names one of those can never be read, and ends in the DLQ (docs/schemas.md).
"""

from __future__ import annotations

import http.client
import random
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

Answer = tuple[int, str, bytes]

JSON, HTML = "application/json", "text/html"
DOWN: tuple[Answer, ...] = (
    (500, JSON, b'{"error_code": 50001, "message": "Error in the backend data store"}'),
    (502, HTML, b"<html>Bad Gateway</html>"),
    (503, JSON, b'{"error_code": "LATER"}'),
)
"""What a registry may say at any time, also to whoever starts."""
NONSENSE: tuple[Answer, ...] = (
    *DOWN,
    (200, HTML, b"<html>Please sign in</html>"),
    (200, JSON, b'{"schema": "{\\"type\\": \\"rec'),
    (200, JSON, b'{"schema": 7}'),
    (200, JSON, b"[" * 100_000),
)
"""What it says of an id that it has."""
REFUSED: dict[int, Answer] = {
    2_000_000_001: (404, JSON, b'{"error_code": "NOT_FOUND", "message": "no artifact"}'),
    2_000_000_002: (404, JSON, b'{"error_code": 404, "message": "HTTP 404 Not Found"}'),
    2_000_000_003: (404, HTML, b"<html>Not Found</html>"),
    2_000_000_004: (404, JSON, b'{"error_code": 40403, "message": "Schema not found"}'),
    2_000_000_005: (200, JSON, b'{"schemaType": "JSON", "schema": "{}"}'),
    2**31 + 7: (404, JSON, b'{"error_code": 404, "message": "HTTP 404 Not Found"}'),
}
"""What it says for good of ids that are no schema for us."""


class OddRegistry(ThreadingHTTPServer):
    """A context manager. ``url``: its address; ``real``: that of the registry behind it.

    ``answers``: what it has answered how often, by status, and "real" for the registry's own.
    """

    daemon_threads = True

    def __init__(self, real: str, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        parts = urlsplit(real)
        assert parts.hostname is not None
        self.real = (parts.hostname, parts.port or 80)
        self.url = f"http://127.0.0.1:{self.server_port}{parts.path}"
        self.answers: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))

    def __enter__(self) -> OddRegistry:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def decide(self, path: str) -> Answer | None:
        """What is said to a question; None: what the registry says."""
        _, asked, id_ = path.partition("/schemas/ids/")
        if asked and (refused := REFUSED.get(int(id_.partition("?")[0]))):
            return refused
        odd = self._random.random() < (1 / 3 if asked else 1 / 10)
        return self._random.choice(NONSENSE if asked else DOWN) if odd else None


class _Handler(BaseHTTPRequestHandler):
    server: OddRegistry

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        decided = self.server.decide(self.path)
        status, kind, data = decided or self._asked(body)
        self.server.answers[f"{status} {kind}" if decided else "real"] += 1
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_GET

    def _asked(self, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(*self.server.real, timeout=30)
        try:
            names = ("Accept", "Content-Type")
            headers = {name: self.headers[name] for name in names if name in self.headers}
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type", JSON), answer.read()
        finally:
            connection.close()

    def log_message(self, *_: object) -> None:
        """A test's output is for failures."""
