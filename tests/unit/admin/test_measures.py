"""What waits in a partition and what comes, told from markers, by what was read of it."""

from __future__ import annotations

from typing import Any

from trunkline.admin.measures import Held, Measure, _Part, age, total
from trunkline.headers import TL_ATTEMPT, TL_DUE_AT, TL_ERROR, TL_ERROR_CLASS, TL_HALTED
from trunkline.kafka.messages import StoredMessage
from trunkline.streams.deliver.offsets import PartitionOffsets, encode_completed
from trunkline.times import iso


def message(offset: int, at: float, **headers: str) -> Any:
    named = [(name, value.encode()) for name, value in headers.items()]
    return StoredMessage("t", 0, offset, b"k", b"v", named, timestamp=int(at * 1000))


def test_what_is_completed_beyond_the_prefix_does_not_wait() -> None:
    progress = PartitionOffsets(10, encode_completed(10, {12}))
    part = _Part(Held(range(0, 15), range(13, 15)), progress, False)
    assert part.interesting == range(10, 15)
    for offset in (10, 12, 13):  # 11 and 14 are markers, which no consumer sees
        part.see(message(offset, 100.0 + offset))
    found = part.measure(exact=True)
    assert (found.waiting, found.exact, found.oldest) == (2, True, 110.0)
    assert found.rate == 1 / 60
    bound = part.measure(exact=False)
    assert (bound.waiting, bound.exact, bound.rate) == (4, False, 2 / 60)


def test_a_partition_that_is_done_is_read_only_for_its_rate() -> None:
    done = _Part(Held(range(0, 15), range(15, 15)), PartitionOffsets(15), False)
    assert not done.interesting
    assert done.measure(exact=True) == Measure()
    lately = _Part(Held(range(0, 15), range(12, 15)), PartitionOffsets(15), False)
    assert lately.interesting == range(12, 15)
    lately.see(message(12, 5.0))
    assert lately.measure(exact=True) == Measure(rate=1 / 60)


def test_a_group_that_has_committed_nothing_has_all_before_it() -> None:
    part = _Part(Held(range(3, 7), range(7, 7)), None, False)
    assert part.interesting == range(3, 7)
    assert part.measure(exact=False).waiting == 4


def test_a_retry_topic_tells_its_next_due_and_the_newest_error() -> None:
    part = _Part(Held(range(0, 9), range(0, 9)), PartitionOffsets(0), True)
    failed = {TL_ATTEMPT: "1", TL_ERROR_CLASS: "Retryable"}
    part.see(message(0, 50.0, **failed, **{TL_ERROR: "503", TL_DUE_AT: iso(300)}))
    part.see(message(1, 60.0, **{TL_DUE_AT: iso(250)}))
    part.see(message(2, 70.0, **failed, **{TL_ERROR: "504", TL_DUE_AT: iso(400)}))
    halted = {TL_ATTEMPT: "3", TL_HALTED: "1", TL_DUE_AT: iso(200)}
    part.see(message(3, 65.0, **halted, **{TL_ERROR_CLASS: "Rejected", TL_ERROR: "422"}))
    found = part.measure(exact=True)
    assert (found.waiting, found.next_due, found.error) == (4, 250.0, "Retryable: 504")
    assert found.rate == 0.0


def test_several_topics_together() -> None:
    one = Measure(2, True, 30.0, 0.5, 90.0, "A", 10.0)
    other = Measure(3, False, 20.0, 0.25, None, "B", 40.0)
    assert total([one, other]) == Measure(5, False, 20.0, 0.75, 90.0, "B", 40.0)
    assert total([]) == Measure()
    assert (age(None), age(30.0, 45.0), age(50.0, 45.0)) == (0.0, 15.0, 0.0)
