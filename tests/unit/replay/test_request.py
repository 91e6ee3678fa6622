"""The control record of a replay, re-drive or discard says what was asked for, whole and unchanged,
to every worker and command that reads it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import ConfigurationError, DataError
from trunkline.streams.dlq.letters import DeadLetterFilter
from trunkline.streams.replay.request import (
    PartitionProgress,
    ReplayMode,
    Request,
    RequestKind,
    RequestState,
    merge_counts,
)

TEXTS = st.text(max_size=8)
MAYBE = st.none() | TEXTS
TIMES = st.none() | st.datetimes().map(lambda time: time.isoformat())
COUNTS = st.dictionaries(st.sampled_from(["sent", "skipped", "dead"]), st.integers(0, 10**9))
FILTERS = st.builds(
    DeadLetterFilter,
    key=MAYBE,
    since=TIMES,
    until=TIMES,
    error=MAYBE,
    cause=MAYBE,
    message=MAYBE,
    header=st.dictionaries(st.text(min_size=1, max_size=8), TEXTS, max_size=2),
)
TOPICS = st.text("ab./", min_size=1, max_size=5)
RANGES = st.builds(
    lambda topic, ranges: {(topic, n): range(*sorted(r)) for n, r in ranges.items()},
    TOPICS,
    st.dictionaries(st.integers(0, 99), st.tuples(st.integers(0), st.integers(0)), max_size=3),
)
COMMON: dict[str, st.SearchStrategy[Any]] = {
    "destination": TEXTS,
    "ranges": RANGES,
    "mode": st.sampled_from(get_args(ReplayMode)),
    "rate": st.none() | st.floats(0.01, 1e6),
    "force": st.booleans(),
    "by": TEXTS,
    "why": TEXTS,
    "at": TEXTS,
    "state": st.sampled_from(get_args(RequestState)),
    "reason": TEXTS,
    "counts": st.none() | COUNTS,
}
REPLAYS = st.builds(Request, kind=st.just("replay"), key=MAYBE, where=MAYBE, **COMMON)
DEAD_LETTERS = st.builds(
    Request,
    kind=st.sampled_from(["redrive", "discard"]),
    selection=FILTERS,
    limit=st.none() | st.integers(1),
    count=st.none() | st.integers(0),
    **COMMON,
)
REQUESTS = REPLAYS | DEAD_LETTERS


def read(request: Request) -> Request:
    """The request as another process has it."""
    return Request.from_record(request.id, json.loads(json.dumps(request.to_record())))


@given(REQUESTS)
def test_a_record_says_all_of_the_request(request: Request) -> None:
    assert read(request) == request


@given(REQUESTS, st.sampled_from(get_args(RequestState)), TEXTS, st.none() | COUNTS)
def test_a_state_changes_nothing_else(
    request: Request, state: RequestState, reason: str, counts: dict[str, int] | None
) -> None:
    changed = read(request.with_state(state, reason=reason, counts=counts))
    assert changed.state == state
    assert changed.reason == (reason or request.reason)
    assert changed.counts == (request.counts if counts is None else counts)
    before = {"state": request.state, "reason": request.reason, "counts": request.counts}
    assert replace(changed, **before) == request


@given(REQUESTS, TEXTS, st.integers() | TEXTS)
def test_fields_of_a_newer_version_are_handed_on(request: Request, name: str, value: Any) -> None:
    """A pause by an old command does not make a request wider."""
    record = {f"new_{name}": value, **request.to_record()}
    paused = Request.from_record(request.id, record).with_state("paused").to_record()
    assert paused == {**record, "state": "paused"}


@pytest.mark.parametrize("kind", get_args(RequestKind))
def test_what_is_not_said_has_its_default(kind: RequestKind) -> None:
    request = Request.from_record("7f", {"kind": kind, "destination": "erp", "ranges": {}})
    assert request == Request(id="7f", kind=kind, destination="erp", ranges={})
    assert (request.mode, request.state, request.topic) == ("state", "running", "")


def test_the_record_is_as_documented() -> None:
    request = Request(
        id="7f",
        kind="redrive",
        destination="erp",
        ranges={("f.erp.dlq", 0): range(3, 9), ("f.erp.dlq", 2): range(4)},
        selection=DeadLetterFilter(error="Rejected", header={"ce_id": "1"}),
        limit=5,
    )
    record = request.to_record()
    assert request.record_key == "replay/7f"
    assert request.progress_key(("orders", 3)) == "replay/7f/orders/3"
    assert record["ranges"] == {"f.erp.dlq/0": [3, 9], "f.erp.dlq/2": [0, 4]}
    assert (record["error"], record["header"], record["limit"]) == ("Rejected", {"ce_id": "1"}, 5)
    assert not {"where", "topic", "reason", "counts"} & record.keys()


def test_each_request_has_an_id_of_its_own() -> None:
    one, two = (Request(kind="replay", destination="erp", ranges={}) for _ in range(2))
    assert one.id != two.id


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "dance"},
        {"kind": None},
        {"destination": None},
        {"ranges": None},
        {"ranges": []},
        {"ranges": {"orders": [0, 1]}},
        {"ranges": {"orders/0": [0]}},
        {"ranges": {"orders/0": 5}},
        {"mode": "fast"},
        {"state": "asleep"},
    ],
    ids=str,
)
def test_a_record_that_is_no_request_is_refused(wrong: dict[str, Any]) -> None:
    record = {"kind": "replay", "destination": "erp", "ranges": {}, **wrong}
    with pytest.raises(DataError, match="replay 7f: "):
        Request.from_record("7f", record)


def test_so_is_a_time_that_is_none() -> None:
    record = {"kind": "redrive", "destination": "erp", "ranges": {}, "since": "yesterday"}
    with pytest.raises(ConfigurationError, match="'yesterday' is no time"):
        Request.from_record("7f", record)


@given(st.none() | st.integers(0) | st.lists(st.integers(0), min_size=2, max_size=2), COUNTS)
def test_progress_is_read_as_it_was_written(next: Any, counts: dict[str, int]) -> None:
    progress = PartitionProgress().moved(next, counts, done=next is None)
    assert PartitionProgress.from_record(json.loads(json.dumps(progress.to_record()))) == progress


def test_before_there_is_a_record_nothing_is_done() -> None:
    assert PartitionProgress.from_record(None) == PartitionProgress()


@given(COUNTS, COUNTS)
def test_counts_are_added_up(one: dict[str, int], two: dict[str, int]) -> None:
    merged = merge_counts(one, two)
    assert all(merged.values()), "what is zero is left out"
    for name in {*one, *two}:
        assert merged.get(name, 0) == one.get(name, 0) + two.get(name, 0)
