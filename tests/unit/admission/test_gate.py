"""A gate that is open or closed, and the permits that it gives."""

from __future__ import annotations

import pytest

from trunkline import Unavailable
from trunkline.streams.admission.gate import NEVER, UNLIMITED, Gate, OnOffGate


class Until(OnOffGate):
    """A gate that is closed until a time, or open."""

    def __init__(self, until: float | None) -> None:
        self.until = until

    def closed_until(self, now: float) -> float | None:
        return self.until


def test_open_it_permits_everything_now() -> None:
    gate: Gate = Until(None)
    assert (gate.permits(5), gate.retry_at(5)) == (UNLIMITED, 5)


@pytest.mark.parametrize("until", [7.0, NEVER])
def test_closed_it_permits_nothing_and_says_until_when(until: float) -> None:
    gate = Until(until)
    assert (gate.permits(5), gate.retry_at(5)) == (0, until)


@pytest.mark.parametrize(("sent", "failure"), [(3, None), (3, Unavailable("503")), (0, None)])
def test_calls_are_nothing_to_it(sent: int, failure: Exception | None) -> None:
    gate = Until(None)
    permit = gate.acquire(5, 3)
    gate.until = NEVER
    permit.finish(6, sent, failure)
    assert gate.permits(6) == 0


def test_who_inherits_says_until_when() -> None:
    with pytest.raises(NotImplementedError):
        OnOffGate().permits(5)
