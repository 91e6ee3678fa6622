"""The dead-letter limit: trips at too large a share of dead letters; only a person resets it."""

from __future__ import annotations

import pytest

from trunkline import ConfigurationError
from trunkline.streams.admission.dead_letter_limit import DeadLetterGate
from trunkline.streams.admission.gate import NEVER, UNLIMITED
from trunkline.streams.flow.dead_letter_limit import DeadLetterLimit


def test_it_shuts_when_more_than_its_share_is_dead_lettered() -> None:
    gate = DeadLetterGate(DeadLetterLimit())
    gate.finished(10, 50)
    gate.dead_lettered(11, 50)
    assert (gate.permits(11), gate.retry_at(11), gate.tripped_at) == (UNLIMITED, 11, None)
    gate.dead_lettered(12, 1)
    assert (gate.permits(12), gate.retry_at(12), gate.tripped_at) == (0, NEVER, 12)


def test_it_waits_for_enough_events() -> None:
    gate = DeadLetterGate(DeadLetterLimit())
    gate.dead_lettered(10, 99)
    assert gate.tripped_at is None
    gate.finished(11, 1)
    assert gate.tripped_at == 11


def test_it_forgets_what_its_window_has_left_behind() -> None:
    gate = DeadLetterGate(DeadLetterLimit())
    gate.dead_lettered(10, 99)
    gate.dead_lettered(316, 99)
    assert gate.tripped_at is None


def test_good_events_of_long_ago_hide_nothing() -> None:
    gate = DeadLetterGate(DeadLetterLimit())
    gate.finished(10, 1_000_000)
    gate.dead_lettered(316, 100)
    assert gate.tripped_at == 316


def test_it_stays_shut_until_somebody_has_looked() -> None:
    gate = DeadLetterGate(DeadLetterLimit())
    gate.dead_lettered(10, 100)
    gate.finished(20, 10)
    gate.dead_lettered(30, 10)
    assert gate.tripped_at == 10
    assert gate.permits(1e9) == 0
    gate.reset()
    assert (gate.permits(40), gate.tripped_at) == (UNLIMITED, None)
    gate.dead_lettered(41, 99)
    assert gate.tripped_at is None, "it counts anew"


def test_how_calls_end_is_nothing_to_it() -> None:
    gate = DeadLetterGate(DeadLetterLimit(minimum=1))
    gate.acquire(1, 5).finish(1, 4, ValueError())
    gate.acquire(1, 5).finish(1, 0, None)
    assert gate.permits(1) == UNLIMITED


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"share": 0}, "DeadLetterLimit(share=0): must be above 0 and below 1, as 0.5 for half"),
        ({"share": 1}, "DeadLetterLimit(share=1): must be above 0 and below 1, as 0.5 for half"),
        ({"window": "0s"}, "DeadLetterLimit(window='0s'): must be longer than nothing"),
        ({"window": "5"}, "'5' is not a duration: write 250ms, 10s, 1m, 2h or 1d"),
        ({"minimum": 0}, "DeadLetterLimit(minimum=0): must be 1 or more events"),
    ],
)
def test_what_cannot_be_a_policy(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        DeadLetterLimit(**arguments)  # type: ignore[arg-type]  # wrong on purpose
    assert str(caught.value) == message
