"""When a destination reads nothing more, and when it goes on."""

from __future__ import annotations

from delivery_parts import INBOX, Parts, event
from trunkline.streams.deliver.backpressure import MAX_OPEN
from trunkline.streams.deliver.offsets import MAX_OFFSET_SPAN

HELD, FREE = frozenset({(INBOX, 0)}), frozenset[tuple[str, int]]()


def parts_with(read: int) -> Parts:
    """Of the events that are read, the first is open for a long time."""
    parts = Parts()
    parts.read(*range(read))
    parts.tracker.complete([event(offset) for offset in range(1, read)])
    parts.backpressure.on_received()
    return parts


def test_a_partition_is_held_before_a_commit_could_not_tell_what_is_completed() -> None:
    assert parts_with(MAX_OFFSET_SPAN // 2).consumer.holds == []
    parts = parts_with(MAX_OFFSET_SPAN * 3 // 4 + 1)
    assert parts.consumer.holds == [HELD]
    parts.backpressure.on_received()
    assert parts.consumer.holds == [HELD], "it is held already"


def test_reading_goes_on_when_the_slow_event_is_through() -> None:
    parts = parts_with(MAX_OFFSET_SPAN * 3 // 4 + 1)
    parts.backpressure.on_completed(0)
    assert parts.consumer.holds == [HELD], "nothing has changed"
    parts.backpressure.on_completed(parts.tracker.complete([event(0)]))
    assert parts.consumer.holds == [HELD, FREE]
    assert parts.consumer.done == 1, "all others made room when they were completed"


def test_a_new_assignment_is_read_unpaused() -> None:
    parts = parts_with(MAX_OFFSET_SPAN * 3 // 4 + 1)
    parts.backpressure.begin()
    parts.backpressure.on_received()
    assert parts.consumer.holds == [HELD, HELD], "it is held anew where that is still so"


def test_key_order_relies_on_reading_only_far_from_both_limits() -> None:
    assert Parts().backpressure.reads_on()
    assert not parts_with(MAX_OFFSET_SPAN // 2 + 1).backpressure.reads_on()
    parts = Parts()
    parts.read(*range(MAX_OPEN // 2 + 1))
    assert not parts.backpressure.reads_on()
