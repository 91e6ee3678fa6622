"""Requests to the workers: what is written for one, how far it is, how it is followed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest

from trunkline.admin import replays
from trunkline.admin.replays import (
    RequestStatus,
    cancel_request,
    continue_request,
    follow_request,
    list_requests,
    pause_request,
    request_status,
    requests_in,
    submit_request,
)
from trunkline.errors import ConfigurationError, DataError
from trunkline.params import Backbone
from trunkline.streams.control.audit import who
from trunkline.streams.replay.request import PartitionProgress, Request
from trunkline.testing.control import MemoryControl

HERE = Backbone()
REPLAY = Request(
    id="7f",
    kind="replay",
    destination="erp",
    ranges={("orders", 0): range(0, 9), ("orders", 1): range(3, 3)},
    where="data.total > 100",
    why="ERP restored",
    by="ada@desk",
    at="2026-11-22T14:30:00.000+00:00",
)
STATE: dict[str, dict[str, Any]] = {
    "replay/7f": REPLAY.to_record(),
    "replay/7f/orders/0": {"next": 4, "counts": {"sent": 3, "superseded": 1}},
    "replay/7f/orders/1": {"counts": {"sent": 4}, "done": True},
    "replay/7f0/orders/0": {"counts": {"sent": 100}},
    "destination/erp": {"state": "auto"},
}


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """The control topic of every flow, as it is read."""
    found = dict(STATE)
    monkeypatch.setattr(replays, "read_control", lambda backbone, topic: found)
    return found


def test_a_request_is_written_with_its_audit_record(written: Any) -> None:
    asked = submit_request(HERE, "f", REPLAY)
    flow, changes, audit = written.only
    assert (flow, changes) == ("f", {"replay/7f": asked.to_record()})
    assert asked.by == audit.who == who(), "who asks now, not who planned it"
    assert asked.at == audit.at != REPLAY.at
    assert (audit.what, audit.on, audit.why, audit.id) == ("replay", "erp", "ERP restored", "7f")
    assert audit.more == {
        "topic": "orders",
        "ranges": {"orders/0": [0, 9], "orders/1": [3, 3]},
        "mode": "state",
        "where": "data.total > 100",
    }


@pytest.mark.parametrize(
    ("change", "deed", "now"),
    [
        (pause_request, "replay pause", "paused"),
        (continue_request, "replay continue", "running"),
        (cancel_request, "replay cancel", "cancelled"),
    ],
)
@pytest.mark.usefixtures("state")
def test_a_request_is_changed_and_the_deed_audited(
    written: Any, change: Callable[..., Request], deed: str, now: str
) -> None:
    changed = change(HERE, "f", "7f", why="closing", by="bob@desk")
    flow, changes, audit = written.only
    assert changed.state == now
    assert (flow, changes) == ("f", {"replay/7f": {**REPLAY.to_record(), "state": now}})
    assert (audit.what, audit.on, audit.who) == (deed, "erp", "bob@desk")
    assert (audit.why, audit.id) == ("closing", "7f")


@pytest.mark.parametrize("over", ["done", "cancelled", "refused"])
def test_what_is_over_cannot_be_changed(
    written: Any, state: dict[str, dict[str, Any]], over: str
) -> None:
    state["replay/7f"] = {**REPLAY.to_record(), "state": over}
    with pytest.raises(ConfigurationError, match=f"replay 7f is {over}: ask for a new one"):
        pause_request(HERE, "f", "7f")
    assert written.transactions == []
    assert request_status(HERE, "f", "7f").over


@pytest.mark.usefixtures("state")
@pytest.mark.parametrize("id", ["nothing", "7f0", ""])
def test_a_request_that_is_not_there_is_refused(id: str) -> None:
    with pytest.raises(ConfigurationError, match=f"f has no replay '{id}'"):
        request_status(HERE, "f", id)


def test_a_status_sums_over_partitions(state: dict[str, dict[str, Any]]) -> None:
    state["replay/7f/orders/2"] = {}
    found = request_status(HERE, "f", "7f")
    assert found.request == REPLAY
    assert found.counts == {"sent": 7, "superseded": 1}
    assert found.partitions == {
        ("orders", 0): PartitionProgress(4, {"sent": 3, "superseded": 1}),
        ("orders", 1): PartitionProgress(None, {"sent": 4}, True),
        ("orders", 2): PartitionProgress(),
    }
    assert not found.over
    assert list_requests(HERE, "f") == [found]


def test_the_newest_request_is_first_and_what_is_none_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    later = {**REPLAY.to_record(), "at": "2026-11-23T00:00:00.000+00:00"}
    bad_time = {**REPLAY.to_record(), "kind": "redrive", "since": "yesterday"}
    state = {**STATE, "replay/8a": later, "replay/9b": {"kind": "?"}, "replay/9c": bad_time}
    with caplog.at_level(logging.ERROR):
        assert [one.request.id for one in requests_in(state)] == ["8a", "7f"]
    assert "'replay/9b' is left out" in caplog.text
    assert "'replay/9c' is left out" in caplog.text


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> MemoryControl:
    """The control topic of every flow, as it is followed."""
    found = MemoryControl()
    found.state.update(STATE)
    monkeypatch.setattr(replays, "KafkaControl", lambda backbone, topic: found)
    return found


def follow(control: MemoryControl, *changes: tuple[str, Any]) -> list[RequestStatus]:
    """What is yielded for a request while the records change; each change is seen by itself."""

    async def run() -> list[RequestStatus]:
        found = []
        left = list(changes)
        async with aclosing(follow_request(HERE, "f", "7f")) as statuses:
            async for status in statuses:
                found.append(status)
                if left:
                    await control.put(*left.pop(0))
        return found

    return asyncio.run(asyncio.wait_for(run(), 30))


def test_a_request_is_followed_until_it_is_over(control: MemoryControl) -> None:
    found = follow(
        control,
        ("replay/7f/orders/0", {"counts": {"sent": 5}, "done": True}),
        ("replay/7f", {**REPLAY.to_record(), "state": "done", "counts": {"sent": 9}}),
    )
    assert [one.counts.get("sent") for one in found] == [7, 9, 9]
    assert [one.over for one in found] == [False, False, True]


def test_a_request_that_is_over_is_yielded_once(control: MemoryControl) -> None:
    control.state["replay/7f"] = REPLAY.with_state("refused", reason="no route").to_record()
    (only,) = follow(control)
    assert (only.request.state, only.request.reason) == ("refused", "no route")


def test_a_request_that_is_removed_meanwhile_is_an_error(control: MemoryControl) -> None:
    with pytest.raises(ConfigurationError, match="has no replay '7f'"):
        follow(control, ("replay/7f", None))


def test_a_record_that_is_not_understood_is_an_error(control: MemoryControl) -> None:
    with pytest.raises(DataError, match="replay 7f"):
        follow(control, ("replay/7f", {"kind": "explain"}))


def test_a_control_topic_that_cannot_be_followed_any_more_is_an_error(
    control: MemoryControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "FAILURE_POLL", 0.01)
    control.failure = RuntimeError("no right to read")
    with pytest.raises(RuntimeError, match="no right to read"):
        follow(control)
