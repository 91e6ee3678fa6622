"""Keys of the control topic: what is written is read again, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.streams.control.records import (
    AlertKey,
    HaltKey,
    HandledKey,
    OverrideKey,
    ReplayKey,
    RetryKey,
    SnapshotKey,
    SourceKey,
    StartKey,
    StatusKey,
)

KINDS: list[Any] = [
    OverrideKey,
    StatusKey,
    StartKey,
    SourceKey,
    SnapshotKey,
    AlertKey,
    ReplayKey,
    HandledKey,
    HaltKey,
    RetryKey,
]

PART = st.text(st.characters(exclude_characters="/", codec="utf-8"), min_size=1)
NUMBER = st.integers(0, 2**63 - 1)
PARTITION = st.tuples(PART, NUMBER)
KEYS = st.one_of(
    st.builds(OverrideKey, PART),
    st.builds(StatusKey, PART, PART),
    st.builds(StartKey, PART),
    st.builds(SourceKey, PART, st.sampled_from(["command", "reset", "status"])),
    st.builds(SnapshotKey, PART, PART),
    st.builds(AlertKey, PART, PART, PART),
    st.builds(ReplayKey, PART, st.none() | PARTITION),
    st.builds(HandledKey, PART, PARTITION),
    st.builds(HaltKey, PART, NUMBER, NUMBER.map(str), NUMBER.map(str)),
    st.builds(RetryKey, PART, NUMBER, PART),
)
WORDS = (
    "destination",
    "status",
    "source",
    "command",
    "snapshot",
    "alert",
    "replay",
    "dlq",
    "release",
    "retry",
    "erp",
    "",
    "0",
    "07",
    "-1",
)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (OverrideKey("erp"), "destination/erp"),
        (StatusKey("erp", "host-17"), "status/erp/host-17"),
        (StartKey("commerce.orders"), "start/commerce.orders"),
        (AlertKey("deliver", "erp", "lag"), "alert/deliver/erp/lag"),
        (ReplayKey("7f"), "replay/7f"),
        (ReplayKey("7f", ("commerce.orders", 3)), "replay/7f/commerce.orders/3"),
        (HandledKey("erp", ("commerce.orders", 3)), "dlq/erp/commerce.orders/3"),
        (HaltKey("erp", 3, "40", "4"), "release/erp/3/40/4"),
        (RetryKey("erp", 3, "7f"), "retry/erp/3/7f"),
    ],
)
def test_the_keys_are_those_of_the_topics_that_there_are(key: Any, text: str) -> None:
    assert key.text == text


@given(KEYS)
def test_a_key_that_was_written_is_read_again_and_by_its_own_kind_alone(key: Any) -> None:
    assert type(key).parse(key.text) == key
    assert [kind for kind in KINDS if kind.parse(key.text) is not None] == [type(key)]


@given(st.lists(st.sampled_from(WORDS), max_size=6).map("/".join) | st.text())
def test_what_is_read_would_be_written_so(text: str) -> None:
    for kind in KINDS:
        key = kind.parse(text)
        assert key is None or key.text == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "replay",
        "replay/",
        "replay//orders/0",
        "replay/7f/orders",
        "replay/7f/orders/",
        "replay/7f/orders/07",
        "replay/7f/orders/-1",
        "replay/7f/orders/٣",
        "replay/7f/orders/0/1",
        "replay/7f/orders/" + "9" * 5000,
        "dlq/erp/3",
        "dlq/erp/orders/x",
        "destination/erp/2",
        "status/erp",
        "status/erp/host/17",
        "alert/deliver/erp",
        "release/erp/3/40",
        "release/erp/3/40/4/5",
        "release/erp/3/x/4",
        "Replay/7f",
    ],
)
def test_what_is_no_key_is_none(text: str) -> None:
    assert [kind for kind in KINDS if kind.parse(text) is not None] == []
