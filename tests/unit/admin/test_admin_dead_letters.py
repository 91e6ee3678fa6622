"""Dead letters as they are opened: what a request is about, what a discard handles, who may ask."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letters_kit import letter
from trunkline.admin.dead_letters import DeadLetters, after_discard, decoded
from trunkline.admin.targets import Target
from trunkline.errors import ConfigurationError, SerializationError
from trunkline.params import Backbone
from trunkline.schemas.codec import Decode
from trunkline.streams.control.audit import who
from trunkline.streams.dlq.handled import Handled
from trunkline.streams.dlq.letters import DeadLetter, DeadLetterFilter
from trunkline.streams.dlq.queue import covering_ranges
from trunkline.streams.replay.request import Request


def source_letters(keys: list[str], handled: Container[int] = ()) -> list[DeadLetter]:
    """Letters of one partition, each followed by a transaction's marker."""
    return [
        letter(partition=0, offset=2 * n, key=key.encode(), handled=n in handled)
        for n, key in enumerate(keys)
    ]


KEYS = st.lists(st.sampled_from("ab"), max_size=12)


@given(KEYS, st.sets(st.integers(0, 11)), st.none() | st.integers(1, 5))
def test_a_discard_handles_what_is_meant_and_no_other(
    keys: list[str], before: set[int], limit: int | None
) -> None:
    letters = source_letters(keys, before)
    handled, count = after_discard(letters, DeadLetterFilter(key="a"), limit)
    meant = [n for n, key in enumerate(keys) if key == "a" and n not in before][:limit]
    now = {n for n in range(len(keys)) if handled.has(0, 2 * n)}
    assert count == len(meant)
    assert now == {*meant, *(before & set(range(len(keys))))}


def test_a_discard_of_all_is_one_run() -> None:
    handled, _ = after_discard(source_letters(["a"] * 9), DeadLetterFilter(), None)
    assert handled.to_record() == {"handled": {"0": {"prefix": 17, "runs": []}}}


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 50)), unique=True))
def test_ranges_hold_the_letters_and_little_else(places: list[tuple[int, int]]) -> None:
    places = sorted(places)
    ranges, count = covering_ranges(letter(partition=n, offset=at) for n, at in places)
    assert count == len(places)
    assert set(ranges) == {("f.erp.dlq", n) for n, _ in places}
    for (_, number), span in ranges.items():
        offsets = [at for n, at in places if n == number]
        assert span == range(min(offsets), max(offsets) + 1)


class Queue:
    """A dead-letter queue that has these letters."""

    def __init__(self, letters: list[DeadLetter]) -> None:
        self._letters = letters

    def letters(
        self, selection: DeadLetterFilter | None = None, *, handled: bool = False
    ) -> Iterator[DeadLetter]:
        selection = selection or DeadLetterFilter()
        found = (one for one in self._letters if handled or not one.handled)
        return (one for one in found if selection.matches(one))

    def with_handled(self, handled: object) -> Queue:
        del handled  # the letters tell it themselves
        return self

    def at(self, partition: int, offset: int) -> DeadLetter | None:
        places = {(one.partition, one.offset): one for one in self._letters}
        return places.get((partition, offset))


def opened(*letters: DeadLetter, is_source: bool = False) -> DeadLetters:
    queue: Any = Queue(list(letters))
    return DeadLetters(Backbone(), Target("f", "erp"), is_source, queue)


FOUR = (
    letter("no customer 1", partition=0, offset=3, key=b"a"),
    letter("no customer 2", partition=0, offset=8, key=b"b", handled=True),
    letter("no price", partition=1, offset=2, key=b"a"),
    letter("no customer 4", partition=1, offset=5, key=b"a"),
)


def test_letters_are_those_that_nobody_has_handled_unless_asked_for_all() -> None:
    assert [one.place for one in opened(*FOUR).letters()] == ["0/3", "1/2", "1/5"]
    assert len(list(opened(*FOUR).letters(handled=True))) == 4
    price = DeadLetterFilter(message="price")
    assert [one.place for one in opened(*FOUR).letters(price)] == ["1/2"]


def test_a_place_without_a_letter_is_refused() -> None:
    assert opened(*FOUR).at(0, 8).handled
    with pytest.raises(ConfigurationError, match=r"f\.erp\.dlq has no dead letter at 0/4"):
        opened(*FOUR).at(0, 4)


def test_causes_are_counted() -> None:
    first, other = opened(*FOUR).causes()
    assert (first.count, first.message) == (2, "no customer <n>")
    assert other.count == 1
    assert [one.count for one in opened(*FOUR).causes(handled=True)] == [3, 1]
    assert [one.count for one in opened(*FOUR).causes(limit=1)] == [1]


def test_a_planned_redrive_has_its_set_and_writes_nothing(written: Any) -> None:
    found = opened(*FOUR)
    chosen = DeadLetterFilter(key="a")
    request = found.plan_redrive(chosen, limit=2, rate=5.0, why="customers are imported")
    assert request.ranges == {("f.erp.dlq", 0): range(3, 4), ("f.erp.dlq", 1): range(2, 3)}
    assert (request.kind, request.destination, request.count) == ("redrive", "erp", 2)
    assert (request.selection, request.limit, request.rate) == (chosen, 2, 5.0)
    assert request.why == "customers are imported"
    assert [cause.count for cause in found.causes_of(request)] == [1, 1]
    assert written.transactions == []


def test_a_forced_redrive_is_also_of_what_is_handled() -> None:
    request = opened(*FOUR).plan_redrive(force=True)
    assert (request.force, request.count) == (True, 4)
    assert sum(one.count for one in opened(*FOUR).causes_of(request)) == 4


def test_a_request_is_handed_to_the_workers(written: Any) -> None:
    found = opened(*FOUR)
    asked = found.submit(found.plan_discard(limit=1, why="test orders"), by="ada@desk")
    flow, changes, audit = written.only
    assert flow == "f"
    assert changes == {f"replay/{asked.id}": asked.to_record()}
    assert Request.from_record(asked.id, asked.to_record()) == asked
    assert (asked.state, asked.by, asked.why) == ("running", "ada@desk", "test orders")
    assert (audit.what, audit.on, audit.who, audit.why) == (
        "discard",
        "erp",
        "ada@desk",
        "test orders",
    )
    assert (audit.id, audit.count, audit.at) == (asked.id, 1, asked.at)
    assert audit.more["limit"] == 1


def test_a_request_about_nothing_is_refused(written: Any) -> None:
    found = opened(*FOUR)
    with pytest.raises(ConfigurationError, match=r"f\.erp: no dead letters to redrive"):
        found.submit(found.plan_redrive(DeadLetterFilter(key="z")))
    assert written.transactions == []


def test_letters_of_a_source_cannot_be_sent_again() -> None:
    with pytest.raises(
        ConfigurationError, match=r"f\.erp is a source.*--flow flows.*discard the letters"
    ):
        opened(*FOUR, is_source=True).plan_redrive()


def test_letters_of_a_source_are_discarded_at_once(written: Any) -> None:
    found = opened(*FOUR, is_source=True)
    asked = found.submit(found.plan_discard(DeadLetterFilter(key="a"), limit=2, why="test"))
    assert (asked.state, asked.counts, asked.count) == ("done", {"discarded": 2}, 2)
    _, changes, audit = written.only
    ((key, record),) = changes.items()
    assert key == "dlq/erp/-/0"
    now = Handled.from_record(record)
    places = [(one.partition, one.offset) for one in FOUR]
    assert [now.has(*place) for place in places] == [True, True, True, False]
    assert (audit.what, audit.on, audit.count, audit.who) == ("discard", "erp", 2, who())


def avro(value: bytes) -> Any:
    return {"bytes": len(value)}


def undecodable(value: bytes) -> Any:
    raise SerializationError("schema 7 is unknown")


@pytest.mark.parametrize(
    ("value", "decode", "data", "unreadable"),
    [
        (None, undecodable, None, None),
        (b'{"id": 7}', undecodable, {"id": 7}, None),
        (b'{"id": ', avro, None, "no JSON: "),
        (b"\x00\x01", avro, {"bytes": 2}, None),
        (b"\x00\x01", undecodable, None, "schema 7 is unknown"),
        (b"", avro, {"bytes": 0}, None),
    ],
)
def test_a_value_is_decoded_or_says_why_not(
    value: bytes | None, decode: Decode, data: Any, unreadable: str | None
) -> None:
    found = decoded(letter(value=value), decode)
    assert found.data == data
    assert (found.unreadable or "").startswith(unreadable or "")
    assert (found.unreadable is None) == (unreadable is None)


def test_a_registry_that_is_down_makes_a_value_unreadable_and_is_no_error() -> None:
    found = DeadLetters(
        Backbone(registry="http://127.0.0.1:1"),
        Target("f", "erp"),
        False,
        cast(Any, Queue([])),
    ).value(letter(value=b"\x00\x00\x00\x00\x01"))
    assert found.data is None
    assert "cannot be asked" in (found.unreadable or "")
