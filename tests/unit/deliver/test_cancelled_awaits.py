"""A cancellation that nobody asked for is an error of whom it comes from, and ends no sender."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from delivery_kit import ErpTest
from trunkline import Event
from trunkline.testing.script import ScriptedSink


@pytest.mark.parametrize("limit", [{}, {"timeout": "10s"}])
def test_what_a_sink_awaits_may_be_cancelled(limit: dict[str, Any]) -> None:
    """By a pool that is closed, say: the event is tried again, and its sender goes on."""
    lost = [True]

    def closing(events: Sequence[Event[Any]]) -> None:
        if lost and lost.pop():
            raise asyncio.CancelledError

    with ErpTest(**limit) as test:
        test.script.does(closing)
        test.send("a", "a", "b")
        test.run_until_idle()
        assert test.arrived == ["b/3", "a/1", "a/2"]


def test_what_a_sink_awaits_while_it_opens_may_be_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That ends the worker, as any error of the sink's own. It would else wait for ever."""

    opened: list[ScriptedSink[Any]] = []

    async def closing(sink: ScriptedSink[Any]) -> None:
        opened.append(sink)
        if len(opened) == 2:
            raise asyncio.CancelledError

    monkeypatch.setattr(ScriptedSink, "open", closing)
    with pytest.raises(RuntimeError, match="what was awaited was cancelled"), ErpTest() as test:
        test.restart()
