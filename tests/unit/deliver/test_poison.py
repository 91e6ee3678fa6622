"""A poison event is told from an outage by what other events meet."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from trunkline import Event, Unavailable
from trunkline.headers import TL_ATTEMPT
from trunkline.streams.deliver.poison import FIRST_REST, LONGEST_REST, PoisonDetector

DOWN = Unavailable("502")


def event(key: str, *, attempts: int = 0) -> Event[None]:
    headers = [(TL_ATTEMPT, str(attempts).encode())] if attempts else []
    return Event(
        key=key,
        headers=headers,
        value=b"",
        decode=lambda value: None,
        topic="sales.erp.retry.10s" if attempts else "sales.erp.inbox",
        partition=0,
        offset=0,
    )


@pytest.fixture
def detector() -> PoisonDetector:
    return PoisonDetector(lambda e: e.key, lambda: 100.0)


def fails(detector: PoisonDetector, *events: Event[None]) -> bool:
    return detector.on_call(events, dict.fromkeys(range(len(events)), DOWN))


def answered(detector: PoisonDetector, *events: Event[None]) -> bool:
    return detector.on_call(events or (event("good"),), {})


def rounds_until_blamed(
    detector: PoisonDetector, poison: Event[None], others: Sequence[bool]
) -> int:
    """How often it fails until it is blamed, if between two failures others meet this."""
    for number in range(1, 100):
        fails(detector, poison)
        if detector.blames(poison):
            return number
        for index, good in enumerate(others):
            other = event(f"other {number}/{index}")
            answered(detector, other) if good else fails(detector, other)
    return 100


def test_one_that_fails_while_others_are_answered_is_blamed(detector: PoisonDetector) -> None:
    assert rounds_until_blamed(detector, event("poison"), [True] * 50) == 4


def test_one_coincidence_blames_nobody(detector: PoisonDetector) -> None:
    poison = event("poison")
    for _ in range(3):
        fails(detector, poison)
        assert not detector.blames(poison)
        answered(detector)


def test_while_nobody_is_answered_nobody_is_blamed(detector: PoisonDetector) -> None:
    events = [event(f"k{number}") for number in range(20)]
    for _ in range(500):
        for each in events:
            fails(detector, each)
    assert not any(map(detector.blames, events))


def test_one_that_is_alone_cannot_be_told_from_an_outage(detector: PoisonDetector) -> None:
    assert rounds_until_blamed(detector, event("alone"), []) == 100


@pytest.mark.parametrize(("good", "bad", "rounds"), [(1, 1, 19), (9, 1, 6), (1, 9, 75)])
def test_the_more_others_fail_too_the_more_proof_it_takes(
    detector: PoisonDetector, good: int, bad: int, rounds: int
) -> None:
    found = rounds_until_blamed(detector, event("poison"), [True] * good + [False] * bad)
    assert found == pytest.approx(rounds, abs=2)


def test_what_others_meet_before_and_after_an_outage_says_nothing_of_it(
    detector: PoisonDetector,
) -> None:
    waits = event("waits")
    for _ in range(3):
        for _ in range(100):
            answered(detector)
        for _ in range(20):
            fails(detector, event("other"))
            fails(detector, waits)
    assert not detector.blames(waits), "two outages began while it was tried: two coincidences"


def test_one_that_has_used_up_attempts_needs_less_proof(detector: PoisonDetector) -> None:
    good = [True] * 50
    assert rounds_until_blamed(detector, event("second", attempts=1), good) == 3
    assert rounds_until_blamed(detector, event("third", attempts=2), good) == 2
    assert rounds_until_blamed(detector, event("eighth", attempts=7), good) == 2


def test_an_answer_clears_it(detector: PoisonDetector) -> None:
    poison = event("poison")
    for _ in range(3):
        fails(detector, poison)
        answered(detector)
    answered(detector, poison)
    assert len(detector) == 0
    assert rounds_until_blamed(detector, poison, [True] * 50) == 4


def test_ten_of_them_do_not_excuse_each_other(detector: PoisonDetector) -> None:
    poisons = [event(f"poison {number}") for number in range(10)]
    for round_ in range(40):
        for each in poisons:
            fails(detector, each)
        for _ in range(20):
            answered(detector, event(f"good {round_}"))
    assert all(map(detector.blames, poisons))


def test_a_repeated_failure_is_no_sign_of_an_outage_if_others_are_answered(
    detector: PoisonDetector,
) -> None:
    poison = event("poison")
    assert not fails(detector, poison), "the first time"
    assert not fails(detector, poison), "and as long as nobody is answered"
    answered(detector)
    assert fails(detector, poison)
    assert fails(detector, poison), "nor is it from now on, whatever others meet"
    assert not fails(detector, event("another"))
    assert not fails(detector, poison, event("a third")), "a call that is more than a repetition"


def test_an_answer_is_a_repetition_if_all_of_the_call_had_failed(detector: PoisonDetector) -> None:
    one, two = event("one"), event("two")
    fails(detector, one, two)
    assert not answered(detector, one, event("three"))
    assert answered(detector, two)


def test_of_a_key_the_first_is_tried_and_those_behind_it_are_not_judged(
    detector: PoisonDetector,
) -> None:
    first, second = event("k"), event("k")
    fails(detector, first, second)
    assert len(detector) == 1
    assert not detector.blames(second)


def test_a_suspect_is_sent_alone_and_rests_longer_each_time(detector: PoisonDetector) -> None:
    poison = event("poison")
    rests = []
    for _ in range(8):
        fails(detector, poison)
        rests.append(detector.rest("poison"))
        answered(detector)
    assert rests[:4] == [FIRST_REST, 0.4, 0.8, 1.6]
    assert rests[-1] == LONGEST_REST
    assert detector.suspects("poison")
    assert not detector.suspects("good")


def test_a_suspect_that_is_left_alone_rests_longer_each_time_too(detector: PoisonDetector) -> None:
    poison = event("poison")
    fails(detector, poison)
    answered(detector)
    for _ in range(200):
        fails(detector, poison)
    assert detector.rest("poison") == LONGEST_REST


def test_a_suspect_that_names_a_time_rests_so_long_and_a_minute_at_most(
    detector: PoisonDetector,
) -> None:
    poison = event("poison")
    for after, rest in ((30.0, 30.0), (1e12, 60.0)):
        answered(detector)
        detector.on_call([poison], {0: Unavailable("503", after=after)})
        answered(detector)
        detector.on_call([poison], {0: Unavailable("503", after=after)})
        assert detector.rest("poison") == rest


def test_a_part_of_a_call_that_was_answered_counts(detector: PoisonDetector) -> None:
    poison = event("poison")
    for number in range(12):
        detector.on_call([event(f"good {number}"), poison], {1: DOWN})
    assert detector.blames(poison)


def test_what_is_held_is_told_the_longest_held_first(detector: PoisonDetector) -> None:
    clock = iter(range(100, 200))
    detector = PoisonDetector(lambda e: e.key, lambda: float(next(clock)))
    for key in "abc":
        fails(detector, event(key))
    assert [held.event.key for held in detector.held(2)] == ["a", "b"]
    assert detector.held(1)[0].error == "Unavailable: 502"
    detector.clear()
    assert detector.held(9) == []


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_where_calls_fail_at_random_hardly_an_event_is_blamed(share: float) -> None:
    """1,500 events of a destination behind a load balancer with some dead backends."""
    chance, blamed = random.Random(1), 0
    detector = PoisonDetector(lambda e: e.key, lambda: 100.0)
    waiting = [event(f"k{number}") for number in range(1500)]
    under_way = [waiting.pop() for _ in range(50)]
    while under_way:
        each = under_way.pop(chance.randrange(len(under_way)))
        if chance.random() < share:
            fails(detector, each)
            if not detector.blames(each):
                under_way.append(each)
                continue
            detector.forget(each)
            blamed += 1
        else:
            answered(detector, each)
        if waiting:
            under_way.append(waiting.pop())
    assert blamed <= 30, "two in a hundred"
