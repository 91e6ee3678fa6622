"""What of a partition is work, and when: markers, completed offsets, retries, halted keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from trunkline.kafka.messages import StoredMessage
from trunkline.scaler import backlog
from trunkline.scaler.backlog import PartitionBacklog
from trunkline.scaler.work import NOW, OpenEvent, Work
from trunkline.streams.deliver.offsets import PartitionOffsets, encode_completed


def read(partition: PartitionBacklog[int], span: range, there: Iterable[int]) -> None:
    """As the reader does: those offsets hold records, the others of the range markers."""
    for offset in there:
        message: Any = StoredMessage("t", 0, offset, None, None)
        partition.add(message)
    partition.has_read(span)


def made() -> PartitionBacklog[int]:
    return PartitionBacklog(lambda message: message.offset() or 0)


def test_markers_are_no_work() -> None:
    partition = made()
    span = partition.update(PartitionOffsets(4), range(0, 6))
    assert span == range(4, 6)
    read(partition, span, there=[4])
    assert (list(partition.records), partition.unread) == ([4], 0)
    assert not partition.update(PartitionOffsets(5), range(0, 6))
    assert not partition.records


def test_what_is_completed_out_of_order_is_no_work() -> None:
    partition = made()
    done = PartitionOffsets(4, encode_completed(4, {5, 7}))
    read(partition, partition.update(done, range(0, 8)), there=[4, 5, 6, 7])
    assert list(partition.records) == [4, 6]
    partition.update(PartitionOffsets(4, encode_completed(4, {5, 6, 7})), range(0, 8))
    assert list(partition.records) == [4]


def test_deleted_history_is_no_work() -> None:
    partition = made()
    assert not partition.update(PartitionOffsets(0), range(900, 900))
    assert (len(partition.records), partition.unread) == (0, 0)


def test_what_is_deleted_later_is_forgotten() -> None:
    partition = made()
    read(partition, partition.update(PartitionOffsets(0), range(0, 3)), there=[0, 1, 2])
    partition.update(PartitionOffsets(0), range(2, 3))
    assert list(partition.records) == [2]


@pytest.mark.parametrize(
    ("done", "held"),
    [(PartitionOffsets(1), range(0, 5)), (PartitionOffsets(0), range(0, 2))],
    ids=["the group was set back", "the topic was made anew"],
)
def test_all_is_read_again(done: PartitionOffsets, held: range) -> None:
    partition = made()
    read(partition, partition.update(PartitionOffsets(3), range(0, 5)), there=[3, 4])
    assert partition.update(done, held) == range(done.committable, held.stop)
    assert not partition.records


def test_a_long_backlog_is_counted_and_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MOST", 10)
    partition = made()
    span = partition.update(PartitionOffsets(0), range(0, 1_000))
    assert span == range(0, 10)
    read(partition, span, there=span)
    assert partition.unread == 990
    assert partition.update(PartitionOffsets(4), range(0, 1_000)) == range(10, 14)


def test_unread_offsets_alone_count_as_one_event_and_more() -> None:
    work = Work()
    work.add([event("a", 1, due=7.0)])
    for partition, count in ((0, 3), (1, 5), (2, 0)):
        work.add_unread(partition, count)
    assert (dict(work.ready), work.unread) == ({0: [7.0], 1: [NOW]}, {0: 3, 1: 4})


# In the order of keys


def event(key: str, sequence: int, due: float = NOW, **more: Any) -> OpenEvent:
    return OpenEvent(0, key, sequence, more.get("failures", 0), due, more.get("halt", ""))


def ready(
    *parked: OpenEvent, arrived: Any = (), decided: Any = (), decisions: Any = ()
) -> dict[int, list[float]]:
    work = Work()
    work.add_in_order(parked, arrived, is_decided=lambda one: one in decided, decisions=decisions)
    return {n: sorted(times) for n, times in work.ready.items()}


def test_a_key_is_work_when_its_first_event_is_due() -> None:
    first, second, other = event("a", 1, 60.0), event("a", 2, 10.0), event("b", 3, 20.0)
    assert ready(second, first, other) == {0: [20.0, 60.0, 60.0]}


def test_what_arrived_behind_a_retry_is_work_when_that_is_due() -> None:
    """A worker would only keep it in memory until then."""
    assert ready(event("a", 1, 60.0), arrived=[event("a", 2), event("b", 3)]) == {
        0: [0.0, 60.0, 60.0]
    }


def test_what_arrived_before_a_retry_of_its_key_is_work_now() -> None:
    """It was under way when its worker died."""
    assert ready(event("a", 2, 60.0), arrived=[event("a", 1)]) == {0: [0.0, 0.0]}


def test_a_halted_key_is_no_work_until_it_is_decided() -> None:
    halted, behind = event("a", 1, 5.0, halt="release/erp/0/1/3"), event("a", 2, 5.0)
    assert ready(halted, behind) == ready(halted, arrived=[behind]) == {}
    assert ready(halted, behind, decisions={"release/erp/0/1/3"}) == {0: [NOW, NOW]}


def test_what_an_operator_wants_now_is_work_now() -> None:
    first, second = event("a", 1, 3_600.0), event("a", 2, 3_600.0)
    assert ready(first, second, decided=[first]) == {0: [NOW, NOW]}
