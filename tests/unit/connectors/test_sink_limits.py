"""What a flow says of a destination's calls: the sink takes it over, or the start says that it
cannot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import pytest

from trunkline import ConfigurationError, Event, Flow, Params
from trunkline.connectors.base import CallLimits, Sink


class Env(Params):
    pass


class Item(TypedDict):
    id: str


class Own(Sink[Item]):
    type = Item

    def __init__(self, max_batch: int = 1) -> None:
        self.max_batch = max_batch

    async def deliver(self, events: Sequence[Event[Item]]) -> None:
        raise NotImplementedError


def built(max_batch: int, **policy: Any) -> Sink[Any]:
    flow = Flow("shop", Env)

    @flow.destination(**policy)
    def erp(env: Env) -> Own:
        return Own(max_batch)

    return erp.build(Env())


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"batch": 100}, r"shop\.erp: batch=100: Own takes 1 event in one call"),
        ({"linger": "2s"}, r"shop\.erp: linger=: Own takes one event in one call"),
    ],
)
def test_what_would_have_no_effect_is_refused(policy: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        built(1, **policy)


def test_what_a_sink_can_do_is_taken() -> None:
    assert built(500, batch=500, linger="2s", timeout="5s", concurrent=3).max_batch == 500
    assert built(1, batch=1).max_batch == 1


def test_a_sink_hears_of_everything() -> None:
    heard: list[CallLimits] = []

    class Listening(Own):
        def configure(self, limits: CallLimits) -> None:
            heard.append(limits)

    flow = Flow("shop", Env)

    @flow.destination(batch=7, linger="2s", timeout="5s", concurrent=3)
    def erp(env: Env) -> Own:
        return Listening()

    erp.build(Env())
    assert heard == [CallLimits(timeout=5.0, batch=7, linger=2.0, concurrent=3)]
