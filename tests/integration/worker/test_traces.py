"""The trace of an event, from its source to the last attempt, through restarts and three tiers."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web

from otlp_collector import Collector, Told
from threaded_server import ThreadedServer
from trunkline.headers import TRACEPARENT
from trunkline.local.ports import free_port
from trunkline.params import Backbone
from worker_kit import Workers, environ_of, eventually, read

FLOW = Path(__file__).parent / "traced_flow.py"
ROLES = ("source,route", "deliver")
EVENTS = 1_000
ATTEMPTS = 4


class Stubborn(ThreadedServer):
    """An API that takes an order at the fourth time. A context manager. ``asked``: the span ids of
    each order's requests."""

    def __init__(self) -> None:
        self.asked: dict[str, list[str]] = defaultdict(list)
        self.taken = 0

    async def _take(self, request: web.Request) -> web.Response:
        asked = self.asked[request.match_info["key"]]
        asked.append(request.headers[TRACEPARENT].split("-")[2])
        if len(asked) < ATTEMPTS:
            return web.Response(status=500)
        self.taken += 1
        return web.Response()

    async def _listen(self) -> None:
        app = web.Application()
        app.router.add_post("/orders/{key}", self._take)
        self.url = await self._serve(app)


@pytest.fixture
def api() -> Iterator[Stubborn]:
    with Stubborn() as running:
        yield running


@contextmanager
def running(
    backbone: Backbone, home: Path, name: str, api: Stubborn, **more: str
) -> Iterator[Workers]:
    environ = environ_of(backbone, flow=name, folder=str(home / "in"), api=api.url)
    with Workers(FLOW, home, {**environ, "TRUNKLINE_PARTITIONS": "2", **more}) as workers:
        yield workers


def write(home: Path, first: int, last: int) -> None:
    """A file of orders, whole at once."""
    lines = ["id", *(f"k{number}" for number in range(first, last))]
    beside = home / f"{first}.csv"
    beside.write_text("\n".join(lines) + "\n")
    beside.rename(home / "in" / beside.name)


def test_traces_are_complete_through_restarts_and_tiers(
    bootstrap: str, registry_url: str, api: Stubborn, tmp_path: Path
) -> None:
    backbone = Backbone(bootstrap=bootstrap, registry=registry_url)
    name = f"traced-{uuid.uuid4().hex[:8]}"
    (tmp_path / "in").mkdir()
    with Collector() as collector:
        more = {"TRUNKLINE_TRACES": collector.url, "TRUNKLINE_TRACES_RATIO": "1"}
        with running(backbone, tmp_path, name, api, **more) as workers:
            workers.started(*ROLES)
            for first in (0, EVENTS // 2):
                write(tmp_path, first, first + EVENTS // 2)
                eventually(lambda n=first: api.taken > n + 50, "some have gone through all tiers")
                workers.stop()
                workers.started(*ROLES)
            eventually(lambda: api.taken == EVENTS, "all are delivered")
            workers.stop()
        complete(collector.spans, api)
    for topic in (f"{name}.orders", f"{name}.erp.inbox", f"{name}.erp.retry.400ms"):
        for message in read(backbone, topic):
            found = [header for header, _ in message.headers() or [] if header == TRACEPARENT]
            assert len(found) == 1, topic


def complete(spans: list[Told], api: Stubborn) -> None:
    """Each order has one trace: published, routed, four attempts, and the API saw each of them."""
    traces: dict[str, list[Told]] = defaultdict(list)
    for span in spans:
        traces[span.trace].append(span)
    assert len(traces) == EVENTS
    asked = {tuple(sorted(ids)) for ids in api.asked.values()}
    for trace in traces.values():
        by_name: dict[str, list[Told]] = defaultdict(list)
        for span in trace:
            by_name[span.name.split()[0]].append(span)
        (published,), (routed,) = by_name["publish"], by_name["route"]
        attempts = by_name["deliver"]
        assert (published.parent, routed.parent) == ("", published.id)
        assert {attempt.parent for attempt in attempts} == {routed.id}, "retries are siblings"
        numbered = sorted((a.attributes["tl.attempt"], a.failed) for a in attempts)
        assert numbered == [(1, True), (2, True), (3, True), (4, False)]
        assert tuple(sorted(attempt.id for attempt in attempts)) in asked


def test_nothing_waits_for_a_collector_that_is_away(
    bootstrap: str, registry_url: str, api: Stubborn, tmp_path: Path
) -> None:
    backbone = Backbone(bootstrap=bootstrap, registry=registry_url)
    name = f"traced-{uuid.uuid4().hex[:8]}"
    (tmp_path / "in").mkdir()
    away = {"TRUNKLINE_TRACES": f"http://127.0.0.1:{free_port()}", "TRUNKLINE_TRACES_RATIO": "1"}
    with running(backbone, tmp_path, name, api, **away) as workers:
        (worker,) = workers.started("source,route,deliver")
        write(tmp_path, 0, 20)
        eventually(lambda: api.taken == 20, "all are delivered")
        eventually(lambda: worker.says("takes no traces"), "the worker says that it is away")
        workers.stop()
    assert not worker.log.read_text().count("opentelemetry")


def test_without_traces_nothing_of_them_is_loaded(
    bootstrap: str, registry_url: str, api: Stubborn, tmp_path: Path
) -> None:
    backbone = Backbone(bootstrap=bootstrap, registry=registry_url)
    name = f"traced-{uuid.uuid4().hex[:8]}"
    (tmp_path / "in").mkdir()
    flow = tmp_path / "looking.py"
    look = "print([m for m in sys.modules if 'opentel' in m])"
    look = f"import atexit, sys\natexit.register(lambda: {look})\n"
    flow.write_text(look + FLOW.read_text())
    environ = environ_of(backbone, flow=name, folder=str(tmp_path / "in"), api=api.url)
    with Workers(flow, tmp_path, environ) as workers:
        (worker,) = workers.started("source,route,deliver")
        write(tmp_path, 0, 5)
        eventually(lambda: api.taken == 5, "all are delivered")
        workers.stop()
    assert "\n[]\n" in worker.log.read_text()


def test_an_unsampled_context_is_handed_on_to_the_byte(
    bootstrap: str, registry_url: str, api: Stubborn, tmp_path: Path
) -> None:
    """And the second failed attempt is recorded all the same, in a trace that links to it."""
    backbone = Backbone(bootstrap=bootstrap, registry=registry_url)
    name = f"traced-{uuid.uuid4().hex[:8]}"
    (tmp_path / "in").mkdir()
    with Collector() as collector:
        more = {"TRUNKLINE_TRACES": collector.url, "TRUNKLINE_TRACES_RATIO": "0"}
        with running(backbone, tmp_path, name, api, **more) as workers:
            workers.started("source,route,deliver")
            write(tmp_path, 0, 5)
            eventually(lambda: api.taken == 5, "all are delivered")
            workers.stop()
        handed = {
            dict(message.headers() or [])[TRACEPARENT]
            for topic in ("orders", "erp.inbox", "erp.retry.600ms")
            for message in read(backbone, f"{name}.{topic}")
        }
        assert len(handed) == 5
        assert all(context.endswith(b"-00") for context in handed)
        assert {i for ids in api.asked.values() for i in ids} == {c[36:52].decode() for c in handed}
        recorded = collector.spans
    assert sorted(link for span in recorded for link in span.links) == sorted(
        context[36:52].decode() for context in handed
    )
    assert {(s.attributes["tl.attempt"], s.failed, s.parent) for s in recorded} == {(2, True, "")}
