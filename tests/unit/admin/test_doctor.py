"""What the doctor says of a registry, of brokers' settings, of this machine and of connectors."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest

from trunkline import Event, Flow, Params
from trunkline.admin.doctor import Diagnosis
from trunkline.admin.doctor.kafka_checks import of_copies, of_settings
from trunkline.admin.doctor.machine import disk, examine_machine, versions
from trunkline.admin.doctor.registry_checks import examine_registry
from trunkline.admin.doctor.systems import call_within, examine_flow, examine_systems
from trunkline.connectors.base import Finding, Sink
from trunkline.connectors.http import HttpSink
from trunkline.connectors.reaching import unreachable
from trunkline.connectors.sql import SqlSink
from trunkline.connectors.webhook import WebhookSource
from trunkline.errors import SourceError
from trunkline.local.ports import free_port
from trunkline.params import Backbone, Secret
from trunkline.schemas.commerce import Order


class Answers(BaseHTTPRequestHandler):
    """A registry whose clock and answers a test sets."""

    ahead: ClassVar[float] = 0.0
    pages: ClassVar[dict[str, str]] = {}
    status: ClassVar[int] = 200

    def do_GET(self) -> None:
        body = self.pages.get(self.path, "").encode()
        self.send_response_only(self.status if body else 404)
        self.send_header("Date", formatdate(time.time() + self.ahead, usegmt=True))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the terminal."""


@contextmanager
def registry(ahead: float = 0.0, status: int = 200, **pages: str) -> Iterator[str]:
    usual = {"/subjects": '["a"]', "/config": '{"compatibilityLevel": "BACKWARD"}'}
    named = {f"/{name}": text for name, text in pages.items()}
    kind = type("Own", (Answers,), {"ahead": ahead, "pages": {**usual, **named}, "status": status})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def told(found: Iterator[Diagnosis], verdict: str) -> list[str]:
    return [one.what for one in found if one.verdict == verdict]


def test_a_registry_that_is_well() -> None:
    with registry() as url:
        found = list(examine_registry(Backbone(registry=url)))
    assert {one.verdict for one in found} == {"ok"}
    assert [one.what for one in found] == [
        f"{url} answers: 1 subjects",
        "the rule for new schemas is BACKWARD",
        "its clock is as this machine's, to the second",
    ]


@pytest.mark.parametrize(
    ("ahead", "verdict", "words"),
    [
        (10, "warning", "10 s ahead of this machine's"),
        (-3600, "wrong", "3,600 s behind this machine's"),
    ],
)
def test_a_clock_that_is_off_is_told(ahead: float, verdict: str, words: str) -> None:
    with registry(ahead) as url:
        (clock,) = [o for o in examine_registry(Backbone(registry=url)) if "clock" in o.what]
    assert clock.verdict == verdict
    # To the second: an answer's date has no fraction.
    number, _, rest = clock.what.removeprefix("its clock is ").partition(" ")
    expected, _, sentence = words.partition(" ")
    assert abs(int(number.replace(",", "")) - int(expected.replace(",", ""))) <= 1
    assert rest == sentence
    assert "chrony" in clock.mend


def test_rules_that_protect_nobody_are_warned_of() -> None:
    with registry(config='{"compatibilityLevel": "NONE"}', mode='{"mode": "READONLY"}') as url:
        found = told(examine_registry(Backbone(registry=url)), "warning")
    assert len(found) == 2
    assert "compatibility NONE" in found[0]
    assert "read-only" in found[1]


def test_each_address_is_examined_by_itself() -> None:
    with registry() as url:
        away = f"http://127.0.0.1:{free_port()}"
        found = list(examine_registry(Backbone(registry=f"{url},{away}")))
    (wrong,) = told(iter(found), "wrong")
    assert wrong.startswith(f"the schema registry at {away} cannot be asked")
    assert f"{url} answers: 1 subjects" in told(iter(found), "ok")


def test_a_registry_that_refuses_is_told_in_its_sentence() -> None:
    with registry(status=401) as url:
        (found,) = examine_registry(Backbone(registry=url, registry_password=Secret("s3cret")))
    assert found.verdict == "wrong"
    assert "refuses access (401): check its user and password" in found.what
    assert "s3cret" not in found.what


SUITS = {
    "offset.metadata.max.bytes": "4096",
    "group.min.session.timeout.ms": "6000",
    "group.max.session.timeout.ms": "1800000",
    "transaction.max.timeout.ms": "900000",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "offsets.topic.replication.factor": "3",
}


class Unfit(NamedTuple):
    name: str
    value: str
    verdict: str
    words: str


@pytest.mark.parametrize(
    "case",
    [
        Unfit("offset.metadata.max.bytes", "1024", "wrong", "how far a destination is delivered"),
        Unfit("group.min.session.timeout.ms", "30000", "wrong", "the session of our consumers"),
        Unfit("group.max.session.timeout.ms", "8000", "wrong", "the session of our consumers"),
        Unfit("transaction.max.timeout.ms", "5000", "wrong", "the longest transaction"),
        Unfit("transaction.state.log.min.isr", "4", "wrong", "there are 3 copies"),
        Unfit("offsets.topic.replication.factor", "1", "warning", "of 3 brokers"),
    ],
)
def test_a_setting_of_the_brokers_that_keeps_flows_from_running(case: Unfit) -> None:
    assert {one.verdict for one in of_settings(SUITS, 3)} == {"ok"}
    (found,) = of_settings({**SUITS, case.name: case.value}, 3)
    assert found.verdict == case.verdict
    assert case.words in found.what
    assert found.mend


def test_settings_that_may_not_be_seen_are_not_judged() -> None:
    (found,) = of_settings({}, 3)
    assert (found.verdict, "may not be seen" in found.what) == ("ok", True)


class Env(Params):
    url: str = "http://127.0.0.1:1"


def flow_of(sink: Any = None) -> Flow[Env]:
    flow = Flow("orders", Env)
    orders = flow.existing_topic("orders.all", Order)

    @flow.destination
    def erp(env: Env) -> Sink[Order]:
        made: Sink[Order] = sink or HttpSink(env.url, Order)
        return made

    @flow.route(orders, to=erp)
    def to_erp(order: Event[Order]) -> Order:
        return order.data

    return flow


@pytest.mark.parametrize(
    ("replication", "brokers", "verdict", "words"),
    [
        (3, 1, "wrong", "topics want 3 copies, and there are 1 brokers"),
        (1, 3, "warning", "topics want 1 copy, of 3 brokers"),
        (2, 2, "", ""),
    ],
)
def test_copies_beside_the_brokers_that_there_are(
    replication: int, brokers: int, verdict: str, words: str
) -> None:
    backbone = Backbone(replication=replication)
    found = list(of_copies(backbone, [flow_of()], brokers))
    assert [one.verdict for one in found] == ([verdict] if verdict else [])
    assert all(words in one.what for one in found)


def test_all_copies_in_sync_is_one_too_many() -> None:
    topics = {"orders.erp.inbox": {"min.insync.replicas": 2}}
    found = told(of_copies(Backbone(replication=2, topics=topics), [flow_of()], 2), "warning")
    assert found == ["orders.erp.inbox wants 2 of 2 copies in sync"]
    topics = {"orders.erp.inbox": {"min.insync.replicas": 3}}
    found = told(of_copies(Backbone(replication=2, topics=topics), [flow_of()], 2), "wrong")
    assert found == ["orders.erp.inbox wants min.insync.replicas 3, of 2 copies"]


def test_room_for_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def free(amount: float) -> list[Diagnosis]:
        usage = shutil.disk_usage(tmp_path)._replace(free=int(amount))
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        return list(disk(tmp_path / "not" / "there"))

    assert [one.verdict for one in free(50e9)] == ["ok"]
    assert [one.verdict for one in free(1e9)] == ["warning"]
    (wrong,) = free(1e8)
    assert (wrong.verdict, wrong.what.startswith("0.1 GB are free")) == ("wrong", True)


def test_a_port_that_somebody_has() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (found,) = examine_machine(Backbone(), [], port)
        assert (found.verdict, f"port {port}" in found.what) == ("warning", True)
        (webhook,) = WebhookSource(key="id", port=port).check()
        assert webhook.warning
    (found,) = examine_machine(Backbone(), [], free_port())
    assert found.verdict == "ok"
    assert WebhookSource(key="id", port=free_port()).check() == []


def test_versions_name_what_everything_depends_on() -> None:
    words = versions().what
    for name in ("trunkline", "Python", "confluent-kafka", "librdkafka"):
        assert f"{name} " in words


def test_a_destination_that_cannot_be_reached_and_one_that_can() -> None:
    away = f"http://127.0.0.1:{free_port()}"
    (found,) = examine_systems(flow_of(), {"params": {"url": away}})
    assert (found.area, found.verdict) == ("orders.erp", "wrong")
    assert "cannot be reached: Connection refused" in found.what
    with registry() as url:
        (found,) = examine_systems(flow_of(), {"params": {"url": url}})
    assert (found.verdict, found.what) == ("ok", "its system is as it must be")


def test_a_database_that_is_not_there(tmp_path: Path) -> None:
    sink = SqlSink(f"sqlite:///{tmp_path / 'not' / 'there.db'}", Order, table="orders", key="id")
    (found,) = sink.check()
    assert found.what.startswith("the database cannot be used")
    assert (
        SqlSink(
            f"sqlite:///{tmp_path / 'there.db'}", Order, table="o", key="id", create_table=True
        ).check()
        == []
    )


def test_nobody_answers_by_tls_where_none_is() -> None:
    import ssl

    with registry() as url:
        port = int(url.rpartition(":")[2])
        assert unreachable("127.0.0.1", port, ssl.create_default_context()).startswith("TLS fails")
    assert "unknown to DNS" in unreachable("no-such-host.invalid", 80)


class Needs(Params):
    api: str


def test_without_parameters_no_system_is_asked() -> None:
    (found,) = examine_systems(Flow("orders", Needs), {})
    assert (found.verdict, found.mend.startswith("name the environment")) == ("warning", True)
    assert "'api' is missing" in found.what


class Mute(Sink[Order]):
    type = Order

    async def deliver(self, events: Any) -> None: ...


class Broken(Mute):
    def check(self) -> list[Finding]:
        raise SourceError("no route to host")


def test_a_connector_that_cannot_say_and_one_that_cannot_ask() -> None:
    (mute,) = examine_systems(flow_of(Mute()), {})
    assert (mute.verdict, "cannot say" in mute.what) == ("ok", True)
    (broken,) = examine_systems(flow_of(Broken()), {})
    assert (broken.verdict, broken.what) == ("wrong", "no route to host")


def test_a_system_that_hangs_holds_up_nobody() -> None:
    release = threading.Event()
    found = call_within(0.01, release.wait)
    assert found.late
    release.set()
    done = call_within(30.0, lambda: 7)
    assert (done.late, done.result()) == (False, 7)


def test_what_a_check_raises_that_nobody_foresaw_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        call_within(30.0, lambda: 1 // 0).result()


def test_a_flow_without_mistakes() -> None:
    (found,) = examine_flow(flow_of(), "")
    assert (found.area, found.verdict) == ("orders", "ok")
