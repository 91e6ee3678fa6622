"""What is written when a source is paused, resumed and reset; how late it is by what is there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trunkline.admin import sources
from trunkline.admin.sources import (
    change_snapshot,
    late,
    pause_source,
    request_snapshot,
    reset_source,
    resume_source,
    snapshots_of,
    status_of,
)
from trunkline.admin.targets import Target
from trunkline.errors import ConfigurationError
from trunkline.kafka import KafkaUnavailable
from trunkline.params import Backbone
from trunkline.times import iso

SHOP = Target("orders", "shop")
HERE = Backbone()
NOON = datetime(2030, 5, 31, 12, tzinfo=UTC).timestamp()


@pytest.fixture(autouse=True)
def there(monkeypatch: pytest.MonkeyPatch, written: Any) -> None:
    """Each source is there, at position 7, and nothing is commanded."""
    monkeypatch.setattr(sources, "put_audited", written.put)
    monkeypatch.setattr(sources, "require_source", lambda backbone, target: None)
    monkeypatch.setattr(sources, "read_control", lambda backbone, topic: {})
    monkeypatch.setattr(sources, "group_members", lambda backbone, group: 1)
    monkeypatch.setattr(sources, "last_position", lambda backbone, target: ({"n": 7}, None, None))


def test_a_pause_and_its_end_are_written_with_their_audit_records(written: Any) -> None:
    end = datetime.now(UTC) + timedelta(hours=2)
    paused = pause_source(HERE, SHOP, until=end, why="upgrade", by="ada@desk")
    resumed = resume_source(HERE, SHOP)
    (flow, changes, audit), (_, after, other) = written.transactions
    assert (flow, changes) == ("orders", {"source/shop/command": paused.value()})
    assert (audit.what, audit.on, audit.who, audit.why) == ("pause", "shop", "ada@desk", "upgrade")
    assert (after, other.what) == ({"source/shop/command": resumed.value()}, "resume")
    assert resumed.state == "auto"


def test_a_pause_that_is_over_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="is over already"):
        pause_source(HERE, SHOP, until=datetime(2020, 1, 1, tzinfo=UTC))


def test_a_reset_keeps_where_the_source_stood_and_fences_its_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[dict[str, Any]] = []

    def put(backbone: Backbone, flow: str, changes: Any, audit: Any, **more: Any) -> None:
        tried.append({"changes": changes, "audit": audit, **more})
        if len(tried) == 1:
            raise KafkaUnavailable("fenced by the worker, which begins its next transaction")

    monkeypatch.setattr(sources, "put_audited", put)
    assert reset_source(HERE, SHOP, why="restored", by="ada") == {"n": 7}
    _, done = tried
    (record,) = done["events"]
    assert (record.topic, record.key) == ("orders.shop.positions", b"shop")
    assert record.value == b'{"position":null,"reset":{"n":7}}'
    assert done["fences"] == "trunkline.orders.shop"
    assert (done["audit"].what, done["audit"].more) == ("reset", {"position": {"n": 7}})
    assert done["changes"]["source/shop/reset"]["by"] == "ada"


def test_a_source_that_is_called_has_nothing_to_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"source/shop/status": {"state": "listening", "worker": "w", "at": iso(NOON)}}
    monkeypatch.setattr(sources, "read_control", lambda backbone, topic: state)
    with pytest.raises(ConfigurationError, match="has no position"):
        reset_source(HERE, SHOP)


def told(state: str, at: float, late_since: float | None) -> dict[str, Any]:
    since = None if late_since is None else iso(late_since)
    return {
        "source/shop/status": {
            "state": state,
            "since": iso(at - 100),
            "late_since": since,
            "error": "SourceError: away",
            "worker": "w1",
            "at": iso(at),
        }
    }


def test_lag_is_true_while_it_fails_and_after_its_worker_is_gone() -> None:
    stored = datetime.fromtimestamp(NOON - 500, UTC)
    failing = status_of(told("failing", NOON - 20, NOON - 300), "shop", NOON)
    assert failing is not None
    assert (failing.state, failing.error, failing.stale) == ("failing", "SourceError: away", False)
    assert late(failing, stored, NOON) == 300
    assert late(status_of(told("running", NOON - 5, None), "shop", NOON), stored, NOON) == 0
    gone = status_of(told("running", NOON - 400, None), "shop", NOON)
    assert gone is not None
    assert gone.stale
    assert late(gone, stored, NOON) == 500
    assert late(None, stored, NOON) == 500
    assert late(None, None, NOON) is None


def test_what_stopped_it_does_not_become_stale() -> None:
    stopped = status_of(told("stopped", NOON - 4000, NOON - 4000), "shop", NOON)
    assert stopped is not None
    assert not stopped.stale
    assert late(stopped, None, NOON) == 4000
    assert status_of({}, "shop", NOON) is None


def test_a_snapshot_is_asked_for_and_changed_with_audit_records(
    written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = request_snapshot(HERE, SHOP, "public.items", where="n > 1", why="new shop", by="ada")
    _, changes, audit = written.only
    key = f"source/shop/snapshot/{id}"
    assert changes[key]["table"] == "public.items"
    assert (changes[key]["where"], changes[key]["state"]) == ("n > 1", "running")
    assert (audit.what, audit.on, audit.more["id"]) == ("snapshot", "shop", id)
    monkeypatch.setattr(sources, "read_control", lambda backbone, topic: changes)
    change_snapshot(HERE, SHOP, id, "paused", by="eve")
    _, after, other = written.transactions[-1]
    assert (after[key]["state"], after[key]["where"], after[key]["by"]) == (
        "paused",
        "n > 1",
        "eve",
    )
    assert other.what == "snapshot paused"
    with pytest.raises(ConfigurationError, match=f"reads no snapshot 'x'; it has {id}"):
        change_snapshot(HERE, SHOP, "x", "stopped")


def test_snapshots_are_shown_with_how_far_they_are_until_they_are_done() -> None:
    state = {
        "source/shop/snapshot/a": {"state": "paused", "table": "items", "by": "ada"},
        "source/shop/snapshot/b": {"state": "running", "table": "items"},
        "source/shop/snapshot/c": {"state": "failed", "table": "x", "error": "no such table"},
        "source/other/snapshot/d": {"state": "running", "table": "items"},
    }
    position = {
        "snapshots": {
            "a": {"table": "public.items", "rows": 7, "about": 100},
            "b": {"table": "public.items", "rows": 9, "done": True},
            "added:public.new:0/1": {"table": "public.new", "rows": 1, "about": None},
        }
    }
    found = {one.id: one for one in snapshots_of(state, "shop", position)}
    assert list(found) == ["a", "c", "added:public.new:0/1"]
    assert (found["a"].state, found["a"].rows, found["a"].about) == ("paused", 7, 100)
    assert (found["c"].state, found["c"].error) == ("failed", "no such table")
    assert found["added:public.new:0/1"].state == "running"
