"""Which jobs follow from the records of the control topic, and from the partitions of a worker."""

from __future__ import annotations

from typing import Any

import pytest

from trunkline.errors import DataError
from trunkline.kafka.offsets import Partition
from trunkline.streams.control.records import ReplayKey
from trunkline.streams.replay.registry import ReplayRegistry
from trunkline.streams.replay.request import PartitionProgress, Request

FIRST: Partition = ("orders", 0)
SECOND: Partition = ("orders", 1)
DONE = PartitionProgress(5, {"sent": 1}, done=True)


def registry_of(*owned: Partition) -> ReplayRegistry:
    registry = ReplayRegistry(["orders"])
    registry.owned = frozenset(owned)
    return registry


def ask(registry: ReplayRegistry, id: str = "r", **more: Any) -> Request:
    """A replay of two partitions, or what ``more`` says."""
    given = {"kind": "replay", "destination": "erp", **more}
    request = Request(**{"id": id, "ranges": {SECOND: range(9), FIRST: range(5)}, **given})
    registry.on_record(ReplayKey(id), request.to_record())
    return request


def finish(registry: ReplayRegistry, *partitions: Partition, id: str = "r") -> None:
    for partition in partitions:
        registry.on_record(ReplayKey(id, partition), DONE.to_record())


def test_a_worker_has_a_job_for_each_of_its_partitions() -> None:
    registry = registry_of(SECOND, ("orders", 2))
    request = ask(registry)
    assert registry.wanted() == {ReplayKey("r", SECOND): request}
    registry.owned = frozenset([FIRST, SECOND])
    assert registry.wanted().keys() == {ReplayKey("r", FIRST), ReplayKey("r", SECOND)}
    registry.owned = frozenset()
    assert registry.wanted() == {}


def test_what_is_done_is_not_wanted() -> None:
    registry = registry_of(FIRST, SECOND)
    ask(registry)
    finish(registry, FIRST)
    assert registry.wanted().keys() == {ReplayKey("r", SECOND)}


def test_the_owner_of_the_first_partition_completes_what_all_have_done() -> None:
    registry = registry_of(FIRST)
    request = ask(registry)
    finish(registry, FIRST)
    assert registry.wanted() == {}
    finish(registry, SECOND)
    assert registry.wanted() == {ReplayKey("r"): request}
    registry.owned = frozenset([SECOND])
    assert registry.wanted() == {}


@pytest.mark.parametrize("state", ["paused", "cancelled", "done", "refused"])
def test_only_what_runs_is_wanted(state: Any) -> None:
    registry = registry_of(FIRST, SECOND)
    request = ask(registry)
    registry.on_record(ReplayKey("r"), request.with_state(state).to_record())
    assert registry.wanted() == {}
    assert registry.request("r") == request.with_state(state)
    ask(registry)
    assert len(registry.wanted()) == 2


def test_records_may_come_in_any_order() -> None:
    registry = registry_of(FIRST, SECOND)
    finish(registry, FIRST)
    ask(registry)
    assert registry.wanted().keys() == {ReplayKey("r", SECOND)}


def test_a_done_partition_stays_so_when_older_records_come_back() -> None:
    registry = registry_of(FIRST, SECOND)
    ask(registry)
    registry.on_progress(ReplayKey("r", FIRST), DONE)
    registry.on_record(ReplayKey("r", FIRST), PartitionProgress(3).to_record())
    assert registry.wanted().keys() == {ReplayKey("r", SECOND)}


def test_what_is_removed_is_forgotten() -> None:
    registry = registry_of(FIRST)
    ask(registry, kind="discard")
    registry.plan({"orders": 1})
    finish(registry, FIRST)
    registry.on_record(ReplayKey("r", FIRST), None)
    registry.on_record(ReplayKey("r"), None)
    assert registry.wanted() == {}
    assert registry.request("r") is None
    request = ask(registry, kind="discard")
    assert registry.partitions(request) == []
    registry.plan({"orders": 1})
    assert registry.wanted().keys() == {ReplayKey("r", FIRST)}


@pytest.mark.parametrize("kind", ["redrive", "discard"])
def test_dead_letters_are_looked_for_in_every_partition_that_is_routed(kind: Any) -> None:
    registry = registry_of(FIRST, SECOND)
    request = ask(registry, kind=kind, ranges={("f.erp.dlq", 0): range(3)})
    assert registry.needs_partition_counts
    assert registry.wanted() == {}, "nobody knows yet which ones there are"
    registry.plan({"orders": 2, "other": 7})
    assert not registry.needs_partition_counts
    assert registry.partitions(request) == [FIRST, SECOND]
    assert registry.wanted().keys() == {ReplayKey("r", FIRST), ReplayKey("r", SECOND)}


def test_a_replay_says_itself_which_partitions_it_is_about() -> None:
    registry = registry_of()
    request = ask(registry)
    assert not registry.needs_partition_counts
    assert registry.partitions(request) == [FIRST, SECOND]


def test_a_rate_is_divided_among_the_partitions_that_are_left() -> None:
    registry = registry_of()
    request = ask(registry, rate=10.0)
    assert registry.rate_share(request) == 5.0
    finish(registry, FIRST)
    assert registry.rate_share(request) == 10.0
    finish(registry, SECOND)
    assert registry.rate_share(request) == 10.0
    assert registry.rate_share(ask(registry, id="s")) is None


def test_a_record_that_is_no_request_changes_nothing() -> None:
    registry = registry_of(FIRST, SECOND)
    ask(registry)
    with pytest.raises(DataError):
        registry.on_record(ReplayKey("r"), {"kind": "dance"})
    assert len(registry.wanted()) == 2
