"""A worker that is killed while its enrichment asks: nothing is lost, nothing out of order."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from checker import disorders, ids_by_key

from trunkline.params import Backbone
from worker_kit import Destination, Feed, Workers, eventually, read

KEYS, ORDERS = 10, 200
LATE = "k3"
"""A customer who is not there for the first two questions about an order: they use up attempts."""


class Customers(ThreadingHTTPServer):
    """A service that knows customers. A context manager. ``out``: questions under way; while
    ``open`` is not set none is answered."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Question)
        self.open = threading.Event()
        self.open.set()
        self.asked: Counter[str] = Counter()
        self.out = 0
        self.lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Customers:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.open.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A killed worker's connections break, which is what the test is about."""


class _Question(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Customers

    def do_GET(self) -> None:
        _, _, key, number = self.path.split("/")
        with self.server.lock:
            self.server.out += 1
            self.server.asked[self.path] += 1
            early = key == LATE and self.server.asked[self.path] <= 2 and int(number) % 7 == 0
        self.server.open.wait()
        with self.server.lock:
            self.server.out -= 1
        text = b"" if early else f"{key} {number}".encode()
        self.send_response(404 if early else 200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nobody reads it."""


def test_a_kill_while_the_enrichment_asks_loses_and_disorders_nothing(
    backbone: Backbone,
    name: str,
    feed: Feed,
    destination: Destination,
    workers_of: Callable[..., Workers],
) -> None:
    feed.orders((f"k{number % KEYS}", number) for number in range(ORDERS))
    expected = ids_by_key(read(backbone, f"{name}.orders"))
    with Customers() as customers:
        workers = workers_of("enriched_flow.py", api=destination.url, customers=customers.url)
        destination.delay = 0.01
        worker = workers.start("route,deliver")
        eventually(lambda: len(destination.deliveries) > 20, "it delivers")
        customers.open.clear()
        eventually(lambda: customers.out >= 3, "questions are under way")
        assert len(destination.deliveries) < ORDERS, "it was through before it was killed"
        workers.kill(worker)
        customers.open.set()
        workers.start("route,deliver")

        def delivered() -> int:
            return len({delivery.id for delivery in destination.deliveries})

        eventually(lambda: delivered() == ORDERS, "everything is delivered")
        workers.stop()
    assert disorders(expected, destination.deliveries) == {}
    bodies = {delivery.key: delivery.body["order_id"] for delivery in destination.deliveries}
    assert all(text.startswith(f"{key} ") for key, text in bodies.items()), "another's customer"
    assert any(count > 2 for count in customers.asked.values()), "nobody was late"
    assert read(backbone, f"{name}.api.dlq") == []
