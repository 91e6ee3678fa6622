"""What becomes of a dead letter: by the request, by what is handled, and by newer events."""

from __future__ import annotations

from typing import Any

import pytest

from letters_kit import letter
from trunkline.kafka.offsets import Partition
from trunkline.streams.dlq.handled import NO_ORIGIN, Handled, origin_of
from trunkline.streams.dlq.letters import DeadLetter, DeadLetterFilter
from trunkline.streams.replay.latest import LatestByKey
from trunkline.streams.replay.marks import HandledMarks
from trunkline.streams.replay.request import Request, RequestKind
from trunkline.streams.replay.verdicts import Verdict, Verdicts

OURS: Partition = ("orders", 2)
"""The origin of ``letter()``, which died of the event at offset 7 there."""


def with_headers(one: DeadLetter, **headers: str) -> list[tuple[str, bytes]]:
    changed = dict(one.headers) | {name: text.encode() for name, text in headers.items()}
    return list(changed.items())


def halted() -> DeadLetter:
    return letter(headers=with_headers(letter(), tl_halted="1"))


def of_route(topic: str = "orders") -> DeadLetter:
    """A letter that died in a route, of the event at offset 9."""
    return letter(headers=with_headers(letter(), tl_stage="route", tl_dead_from=f"{topic}/2/9"))


def verdicts_of(
    *, handled: bool = False, kind: RequestKind = "redrive", appends: bool = False, **more: Any
) -> Verdicts:
    marks = Handled()
    if handled:
        marks.add(2, 17, 18)
    known = dict.fromkeys((OURS, ("gone", 2), NO_ORIGIN), marks)
    request = Request(kind=kind, destination="erp", ranges={}, **more)
    return Verdicts(request, OURS, HandledMarks(known, {}), topics={"orders"}, appends=appends)


def latest(newest: int, collected: int = 7) -> LatestByKey:
    """The window in which the letter's event was collected, and its key's newest event."""
    found = LatestByKey()
    found.collect(b"k1", collected)
    found.supersede(b"k1", newest)
    found.seal()
    return found


def test_a_letter_is_sent_unless_its_key_had_a_newer_event() -> None:
    verdicts = verdicts_of()
    assert verdicts.final(letter()) is None
    assert verdicts.of(letter(), latest(newest=7)) == "sent"
    assert verdicts.of(letter(), latest(newest=8)) == "superseded"


@pytest.mark.parametrize("more", [{"force": True}, {"appends": True}])
def test_newer_events_do_not_matter_to_a_sink_that_appends_nor_to_force(
    more: dict[str, Any],
) -> None:
    verdicts = verdicts_of(**more)
    assert not verdicts.heeds_newer
    assert verdicts.of(letter(), None) == "sent"


@pytest.mark.parametrize(
    ("one", "more", "verdict"),
    [
        (letter(), {"handled": True}, "handled"),
        (letter(), {"handled": True, "kind": "discard"}, "handled"),
        (letter(), {"selection": DeadLetterFilter(key="k2")}, "not selected"),
        (letter(), {"selection": DeadLetterFilter(key="k2"), "kind": "discard"}, "not selected"),
        (letter(), {"kind": "discard"}, "discarded"),
        (halted(), {}, "released"),
        (halted(), {"kind": "discard"}, "discarded"),
        (of_route("gone"), {}, "skipped"),
        (letter(key=None), {}, "sent"),
        (letter(key=b""), {}, "sent"),
    ],
)
def test_what_no_newer_event_changes(
    one: DeadLetter, more: dict[str, Any], verdict: Verdict
) -> None:
    verdicts = verdicts_of(**more)
    assert verdicts.final(one) == verdict
    assert verdicts.of(one, LatestByKey()) == verdict


def test_force_sends_what_is_handled_if_it_is_selected() -> None:
    """And what is not selected stays handled: it must not look as if nobody had seen to it."""
    assert verdicts_of(handled=True, force=True).final(letter()) == "sent"
    other = DeadLetterFilter(key="k2")
    assert verdicts_of(handled=True, force=True, selection=other).final(letter()) == "handled"


@pytest.mark.parametrize("origin", [("orders", 3), ("gone", 0), NO_ORIGIN])
def test_letters_of_another_origin_cannot_be_superseded_here(origin: Partition) -> None:
    """They are ours to handle as nobody routes their origin any more."""
    one = letter(headers=with_headers(letter(), tl_from=f"{origin[0]}/{origin[1]}/7/1"))
    assert origin_of(one.headers) == origin
    assert verdicts_of().offset(one) is None
    assert verdicts_of().final(one) == "sent"


def test_the_event_that_died_is_named_by_the_stage() -> None:
    verdicts = verdicts_of()
    assert verdicts.offset(letter()) == 7
    assert verdicts.offset(of_route()) == 9


def test_a_topic_may_have_dots_and_digits() -> None:
    partition: Partition = ("orders.7", 2)
    request = Request(kind="redrive", destination="erp", ranges={})
    verdicts = Verdicts(
        request, partition, HandledMarks({}, {}), topics={"orders.7"}, appends=False
    )
    assert verdicts.offset(letter(headers=with_headers(letter(), tl_from="orders.7/2/31/1"))) == 31
