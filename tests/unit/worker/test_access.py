"""What a worker may not do is told as long as it lasts, and keeps it from being ready."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from delivery_kit import Env, flow_of
from trunkline import kafka
from trunkline.kafka.rights import Right
from trunkline.params import Backbone
from trunkline.streams.worker import access
from trunkline.streams.worker.access import AccessMonitor, AccessRounds
from trunkline.streams.worker.process import Worker

NO_INBOX = Right("topic", "sales.erp.inbox", ("Read",))


class Cluster:
    """What Kafka answers: ``missing`` rights, or ``away``; ``ids``: whether transactions may be."""

    def __init__(self) -> None:
        self.missing: list[Right] = []
        self.away: kafka.KafkaUnavailable | None = None
        self.ids = True
        self.proofs: list[str] = []
        self.asked: list[Right] = []

    def require_answer(self, client: object) -> None:
        if self.away is not None:
            raise self.away

    def missing_rights(self, client: object, needed: list[Right]) -> list[Right]:
        self.asked = needed
        return self.missing

    def may_write_transactions(self, backbone: Backbone, id: str) -> bool:
        self.proofs.append(id)
        return self.ids


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    for name in ("require_answer", "missing_rights", "may_write_transactions"):
        monkeypatch.setattr(access, name, getattr(made, name))
    return made


@pytest.fixture
def monitor(cluster: Cluster) -> AccessMonitor:
    return AccessMonitor(flow_of(), ["route", "deliver"], Backbone(bootstrap="127.0.0.1:1"))


def test_what_is_missing_is_named_until_it_is_granted(
    cluster: Cluster, monitor: AccessMonitor, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.missing, cluster.ids = [NO_INBOX], False
    monitor.look()
    monitor.look()
    assert "Read on topic sales.erp.inbox" in monitor.reason
    assert "Write, Describe on transactional-id trunkline.sales.route.*" in monitor.reason
    assert caplog.text.count("lacks rights") == 1, "told once"
    cluster.missing, cluster.ids = [], True
    monitor.look()
    assert monitor.reason == ""
    assert monitor.seen


def test_an_id_is_proven_once(cluster: Cluster, monitor: AccessMonitor) -> None:
    monitor.look()
    monitor.look()
    assert len(cluster.proofs) == 2  # of routing, and of the destination
    assert all(".rights." in id for id in cluster.proofs), "nobody else's id: he would be fenced"


def test_a_right_without_which_work_goes_on_is_not_missed(
    cluster: Cluster, monitor: AccessMonitor
) -> None:
    monitor.look()
    (tier,) = [right for right in cluster.asked if right.name == "sales.erp.retry.10s"]
    assert tier.operations == ("Read", "Write", "Describe")


def test_a_cluster_that_is_away_says_nothing_and_one_that_refuses_does(
    cluster: Cluster, monitor: AccessMonitor
) -> None:
    cluster.away = kafka.KafkaUnavailable("nothing listens")
    monitor.look()
    assert (monitor.reason, monitor.seen) == ("", False)
    cluster.away = kafka.KafkaRefused("another password")
    monitor.look()
    assert (monitor.reason, monitor.seen) == ("another password", True)


def page(worker: Worker) -> tuple[int, dict[str, Any]]:
    status, body, _ = worker._readiness()
    return status, json.loads(body)


def test_a_client_that_cannot_be_made_ends_nothing_without_a_word(
    monitor: AccessMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread of the rounds ended, and what changed later was told by no page."""

    def refuses(backbone: Backbone) -> None:
        raise OSError("too many open files")

    monkeypatch.setattr(kafka, "admin", refuses)
    AccessRounds(Backbone(bootstrap="127.0.0.1:1"))._look([monitor])
    assert str(monitor.failure) == "too many open files"


def test_a_loop_that_is_stuck_and_a_right_that_is_missing_are_no_readiness(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(flow_of(), Env(), Backbone(bootstrap="127.0.0.1:1"))
    worker._starting = [SimpleNamespace()]  # type: ignore[list-item]
    stuck: list[Any] = []
    monkeypatch.setattr(worker, "_intakes", lambda: stuck)
    assert page(worker) == (503, {"ready": False, "held": []}), "not looked at yet"
    worker._access.look()
    assert page(worker) == (200, {"ready": True, "held": []})
    stuck.append(SimpleNamespace(name="sales.erp.inbox", ready=True, stuck=True))
    told = "nothing was polled for 30 s: sales.erp.inbox"
    assert page(worker) == (503, {"ready": False, "held": [], "reason": told})
    stuck.clear()
    cluster.missing = [NO_INBOX]
    worker._access.look()
    status, body = page(worker)
    assert status == 503
    assert "Read on topic sales.erp.inbox" in body["reason"]
