"""Progress and its cut, against a model: no restart loses or skips what was not completed."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trunkline.streams.deliver.offsets import (
    MAX_OFFSET_SPAN,
    METADATA_LIMIT,
    CorruptMetadata,
    PartitionOffsets,
    decode_completed,
    encode_completed,
)


class Partition(RuleBasedStateMachine):
    """One partition, read by workers that commit and die. Its offsets have gaps, as those of a
    topic that transactions write."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[int] = []
        self.completed: set[int] = set()
        self.committed: tuple[int, str] = (0, "")
        self.as_committed: set[int] = set()
        self.begin()

    def begin(self) -> None:
        """A worker begins where the last commit ends."""
        self.progress = PartitionOffsets(*self.committed)
        self.read = next((i for i, at in enumerate(self.log) if at >= self.committed[0]), None)
        self.read = len(self.log) if self.read is None else self.read
        self.under_way: list[int] = []

    @rule(gaps=st.lists(st.integers(1, 3), min_size=1, max_size=10))
    def written(self, gaps: list[int]) -> None:
        for gap in gaps:
            self.log.append((self.log[-1] if self.log else -1) + gap)

    @rule(count=st.integers(1, 8))
    def receive(self, count: int) -> None:
        for _ in range(min(count, len(self.log) - self.read)):
            self.receive_one()

    def receive_one(self) -> None:
        offset = self.log[self.read]
        self.read += 1
        fresh = self.progress.receive(offset)
        assert fresh == (offset not in self.as_committed), "only what is committed is left out"
        if fresh:
            self.under_way.append(offset)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        offset = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        before = self.progress.incomplete
        passed = self.progress.complete(offset)
        self.completed.add(offset)
        assert passed == before - self.progress.incomplete

    @rule()
    def commit(self) -> None:
        self.committed = self.progress.to_commit()
        read = set(self.log[: self.read]) | self.as_committed
        self.as_committed = (read & self.completed) | self.as_committed

    @rule()
    def commit_and_die(self) -> None:
        self.commit()
        self.die()

    @rule()
    def die(self) -> None:
        self.begin()
        # What the dead one completed after its last commit is delivered again.
        self.completed = set(self.as_committed)

    @invariant()
    def everything_before_the_prefix_is_completed(self) -> None:
        for at in (self.progress.committable, self.committed[0]):
            assert {offset for offset in self.log if offset < at} <= self.completed

    @invariant()
    def the_window_reaches_from_the_prefix_to_the_newest(self) -> None:
        assert self.progress.window >= self.progress.incomplete >= 0

    @invariant()
    def a_commit_is_the_prefix_and_what_is_completed_beyond(self) -> None:
        offset, metadata = self.committed
        beyond = decode_completed(offset, metadata)
        assert beyond == {at for at in self.as_committed if at >= offset}


TestPartition = Partition.TestCase
TestPartition.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


@given(
    prefix=st.integers(0, 2**62), beyond=st.sets(st.integers(0, MAX_OFFSET_SPAN - 1), max_size=300)
)
def test_what_is_packed_is_unpacked(prefix: int, beyond: set[int]) -> None:
    done = {prefix + place for place in beyond}
    metadata = encode_completed(prefix, done)
    assert len(metadata) <= METADATA_LIMIT
    assert metadata.isascii()
    assert decode_completed(prefix, metadata) == done


@pytest.mark.parametrize("seed", range(3))
def test_a_whole_window_of_noise_fits(seed: int) -> None:
    chance = random.Random(seed)
    done = {place for place in range(MAX_OFFSET_SPAN) if chance.random() < 0.5}
    metadata = encode_completed(0, done)
    assert len(metadata) <= METADATA_LIMIT
    assert decode_completed(0, metadata) == done


def test_what_does_not_fit_is_left_out_and_so_repeated() -> None:
    assert decode_completed(
        0, encode_completed(0, {1, MAX_OFFSET_SPAN - 1, MAX_OFFSET_SPAN, MAX_OFFSET_SPAN + 5})
    ) == {1, MAX_OFFSET_SPAN - 1}


def test_nothing_beyond_needs_no_metadata() -> None:
    progress = PartitionOffsets(5)
    for offset in (5, 6):
        progress.receive(offset)
        progress.complete(offset)
    assert progress.to_commit() == (7, "")


def test_a_cut_is_due_only_after_a_change() -> None:
    progress = PartitionOffsets()
    progress.receive(0)
    assert not progress.changed
    progress.complete(0)
    assert progress.changed
    progress.to_commit()
    assert not progress.changed


@pytest.mark.parametrize(
    "metadata",
    ["of another program", "****", base64.b64encode(b"not deflated").decode(), "é", "eJw"],
)
def test_metadata_of_others_is_told(metadata: str) -> None:
    with pytest.raises(CorruptMetadata, match="the commit at 7 has metadata of another program"):
        PartitionOffsets(7, metadata)
