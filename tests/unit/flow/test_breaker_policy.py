"""CircuitBreaker: what cannot be a policy is refused, with what to write instead."""

from __future__ import annotations

import pytest

from trunkline import ConfigurationError
from trunkline.streams.flow.circuit_breaker import CircuitBreaker


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"failures": 0}, "CircuitBreaker(failures=0): must be 1 or more calls"),
        ({"minimum": 0}, "CircuitBreaker(minimum=0): must be 1 or more calls"),
        ({"share": 0}, "CircuitBreaker(share=0): must be above 0 and up to 1, as 0.5 for half"),
        ({"share": 50}, "CircuitBreaker(share=50): must be above 0 and up to 1, as 0.5 for half"),
        ({"window": "0s"}, "CircuitBreaker(window='0s'): must be longer than nothing"),
        ({"open": "5"}, "'5' is not a duration: write 250ms, 10s, 1m, 2h or 1d"),
        ({"slow_start": "-1s"}, "'-1s' is not a duration: write 250ms, 10s, 1m, 2h or 1d"),
        ({"open": "2m"}, "CircuitBreaker(longest='10s'): must be at least open='2m'"),
    ],
)
def test_what_cannot_be_a_policy(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        CircuitBreaker(**arguments)  # type: ignore[arg-type]  # wrong on purpose
    assert str(caught.value) == message
