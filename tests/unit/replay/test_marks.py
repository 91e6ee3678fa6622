"""Marks of handled letters: exactly those, in as few runs as can be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from letters_kit import letter
from trunkline.kafka.offsets import Partition
from trunkline.streams.dlq.handled import Handled
from trunkline.streams.dlq.letters import DeadLetter
from trunkline.streams.replay.marks import HandledMarks

ORIGINS: list[Partition] = [("orders", 0), ("orders", 1)]
QUEUE = st.lists(st.tuples(st.sampled_from(ORIGINS), st.booleans()), max_size=15)
"""A partition of the queue: each letter's origin, and whether it is handled."""


def at(offset: int, origin: Partition = ORIGINS[0], partition: int = 0) -> DeadLetter:
    headers = dict(letter().headers) | {"tl_from": f"{origin[0]}/{origin[1]}/7/1".encode()}
    return letter(partition=partition, offset=offset, headers=list(headers.items()))


@given(st.data(), QUEUE)
def test_exactly_the_handled_letters_are_marked(
    data: st.DataObject, queue: list[tuple[Partition, bool]]
) -> None:
    """Also by a job that goes on where another one ended."""
    stop = data.draw(st.integers(0, len(queue)))
    handled: dict[Partition, Handled] = {}
    for first, last in ((0, stop), (stop, len(queue))):
        marks = HandledMarks(handled, {0: 0} if first == 0 else {})
        for offset in range(first, last):
            origin, is_handled = queue[offset]
            changed = marks.read(at(offset, origin), handled=is_handled)
            assert changed == (origin if is_handled else None)
        handled = {o: Handled.from_record(marks.of(o).to_record()) for o in ORIGINS if o in handled}
    marks = HandledMarks(handled, {})
    assert [marks.has(at(n, origin)) for n, (origin, _) in enumerate(queue)] == [
        is_handled for _, is_handled in queue
    ]


def test_all_letters_of_an_origin_are_one_run() -> None:
    marks = HandledMarks({}, {0: 0})
    for offset in range(20):
        marks.read(at(offset, ORIGINS[offset % 2]), handled=True)
    assert marks.of(ORIGINS[0]).to_record() == {"handled": {"0": {"prefix": 19, "runs": []}}}
    assert marks.of(ORIGINS[1]).to_record() == {"handled": {"0": {"prefix": 20, "runs": []}}}


def test_what_lies_before_a_job_that_goes_on_is_not_its_to_mark() -> None:
    marks = HandledMarks({}, {})
    marks.read(at(7), handled=True)
    assert marks.of(ORIGINS[0]).to_record() == {"handled": {"0": {"prefix": 0, "runs": [[7, 1]]}}}


def test_each_partition_of_the_queue_has_marks_of_its_own() -> None:
    marks = HandledMarks({}, {0: 0, 1: 3})
    marks.read(at(5, partition=1), handled=True)
    assert marks.has(at(5, partition=1))
    assert not marks.has(at(5, partition=0))
    assert marks.of(ORIGINS[0]).to_record() == {"handled": {"1": {"prefix": 0, "runs": [[3, 3]]}}}
