"""How far a worker is: what was read, what is completed, what a commit says."""

from __future__ import annotations

from delivery_parts import INBOX, Parts, event, message
from trunkline.streams.deliver.offsets import PartitionOffsets, decode_completed


def test_what_is_completed_out_of_order_counts_at_once_and_the_gap_is_the_span() -> None:
    tracker = Parts().tracker
    tracker.receive([message(offset) for offset in range(3)])
    assert tracker.complete([event(1), event(2)]) == 2
    assert (tracker.open, tracker.span) == (1, 3)
    assert tracker.complete([event(1)]) == 0, "that was known"
    assert tracker.complete([event(0)]) == 1
    assert (tracker.open, tracker.span) == (0, 0)


def test_a_commit_tells_what_is_completed_beyond_the_gap_and_a_restart_knows_it() -> None:
    tracker = Parts().tracker
    tracker.receive([message(offset) for offset in range(4)])
    tracker.complete([event(0), event(2)])
    ((partition, offsets),) = tracker.changed().items()
    commit = tracker.to_commit(partition, offsets)
    assert commit.offset == 1
    assert decode_completed(1, commit.metadata or "") == {2}
    assert tracker.changed() == {}, "it is committed"
    tracker.begin({(INBOX, 0): PartitionOffsets(commit.offset, commit.metadata or "")}, {})
    fresh, completed = tracker.receive([message(offset) for offset in range(1, 4)])
    assert [m.offset() for m in fresh] == [1, 3]
    assert completed == 1, "2 takes no room, though the first one is open"


def test_an_event_of_a_partition_that_went_away_counts_for_nobody() -> None:
    tracker = Parts().tracker
    tracker.receive([message(0)])
    changed = tracker.changed()
    tracker.clear()
    assert tracker.complete([event(0)]) == 0
    assert not tracker.owns(event(0))
    assert tracker.owns_still(changed), "nothing was to be committed"
    tracker.begin({(INBOX, 0): PartitionOffsets()}, {})
    tracker.receive([message(0)])
    tracker.complete([event(0)])
    changed = tracker.changed()
    tracker.begin({(INBOX, 0): PartitionOffsets()}, {})
    assert not tracker.owns_still(changed), "it went and came back: another assignment"


def test_the_inbox_is_read_up_to_what_is_there_or_never_will_be() -> None:
    tracker = Parts().tracker
    tracker.begin({(INBOX, 0): PartitionOffsets(5)}, {0: range(3, 9)})
    assert tracker.has_read_up_to(0, 4)
    assert not tracker.has_read_up_to(0, 7)
    assert tracker.has_read_up_to(0, 12), "it is not in the inbox any more"
    assert not tracker.has_read_up_to(1, 0), "another worker's partition"
    tracker.receive([message(offset) for offset in (5, 6, 7)])
    assert tracker.has_read_up_to(0, 7)


def test_the_age_is_that_of_the_oldest_open_event_however_few_there_are() -> None:
    parts = Parts()
    tracker = parts.tracker
    tracker.receive([message(offset, at=float(offset)) for offset in range(300)])
    parts.clock.now = 400.0
    assert tracker.oldest_age() == 400.0
    tracker.complete([event(offset) for offset in range(250)])
    for item in tracker.changed().items():
        tracker.to_commit(*item)
    assert tracker.oldest_age() == 150.0
    tracker.complete([event(offset) for offset in range(250, 300)])
    assert tracker.oldest_age() == 0.0


def test_a_commit_can_be_asked_for_without_a_change() -> None:
    tracker = Parts().tracker
    assert tracker.changed() == {}
    tracker.touch()
    assert list(tracker.changed()) == [(INBOX, 0)]
