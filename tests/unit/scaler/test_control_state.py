"""The control topic as a scaler knows it: by destination, and whether a replay is to be done."""

from __future__ import annotations

from typing import Any

import orjson

from trunkline.kafka.messages import StoredMessage
from trunkline.scaler.control_state import ControlState
from trunkline.streams.replay.request import Request

ASKED = Request(id="r1", kind="redrive", destination="erp", ranges={})


def read(state: ControlState, held: range, *records: tuple[str, Any]) -> range:
    """As the reader does; what ``update`` said."""
    span = state.update(held)
    for offset, (key, value) in zip(span, records, strict=False):
        data = None if value is None else orjson.dumps(value)
        message: Any = StoredMessage("f.control", 0, offset, key.encode(), data)
        state.add(message)
    state.has_read()
    return span


def test_each_destination_has_its_own_records() -> None:
    state = ControlState("f")
    read(
        state,
        range(0, 4),
        ("destination/erp", {"state": "paused"}),
        ("status/erp/w1", {"state": "open"}),
        ("status/crm/w1", {"state": "open"}),
        ("status/erp/w1", None),
    )
    assert state.of("erp") == {"destination/erp": {"state": "paused"}}
    assert set(state.of("crm")) == {"status/crm/w1"}
    assert state.of("wms") == {}


def test_only_what_is_new_is_read() -> None:
    state = ControlState("f")
    assert read(state, range(3, 5)) == range(3, 5)
    assert read(state, range(3, 9)) == range(5, 9)
    assert not read(state, range(3, 9))


def test_a_topic_that_is_made_anew_is_read_again() -> None:
    state = ControlState("f")
    read(
        state,
        range(0, 5),
        ("destination/erp", {"state": "paused"}),
        ("replay/r1", ASKED.to_record()),
    )
    assert state.replays
    assert read(state, range(0, 2)) == range(0, 2)
    assert state.of("erp") == {}
    assert not state.replays


def test_a_replay_is_to_be_done_until_it_is() -> None:
    state = ControlState("f")
    assert not state.replays
    read(state, range(0, 1), ("replay/r1", ASKED.to_record()))
    assert state.replays
    read(state, range(0, 2), ("replay/r1", ASKED.with_state("paused").to_record()))
    assert not state.replays
    read(state, range(0, 3), ("replay/r1", ASKED.to_record()))
    assert state.replays
    read(state, range(0, 4), ("replay/r1", ASKED.with_state("done").to_record()))
    assert not state.replays


def test_what_is_no_record_of_ours_ends_nothing() -> None:
    state = ControlState("f")
    read(state, range(0, 3), ("replay/r1", {"kind": "unheard-of"}), ("", {}), ("noslash", {}))
    assert not state.replays
