"""The control topic as everybody sees it who follows it, here in memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from trunkline.streams.control.topic import control_record
from trunkline.testing.control import MemoryControl

Seen = list[tuple[str, Any]]


async def round_of_the_loop() -> None:
    await asyncio.sleep(0)


def test_a_write_comes_back_and_not_before() -> None:
    async def story() -> None:
        control = MemoryControl()
        await control.put("destination/erp", {"state": "paused"})
        assert control.state == {}
        await round_of_the_loop()
        assert control.state == {"destination/erp": {"state": "paused"}}
        await control.put("destination/erp", None)
        await round_of_the_loop()
        assert control.state == {}

    asyncio.run(story())


def test_changes_are_told_in_order_by_prefix_and_after_the_state_has_them() -> None:
    async def story() -> Seen:
        control, seen = MemoryControl(), Seen()

        def told(key: str, value: Any) -> None:
            assert control.state.get(key) == value
            seen.append((key, value))

        await control.put("replay/1", {"at": 0})
        await round_of_the_loop()
        unsubscribe = control.subscribe("replay/", told)
        assert seen == [("replay/1", {"at": 0})], "what is there is told at once"
        await control.put("replay/1", {"at": 1})
        await control.put("destination/erp", {"state": "paused"})
        await control.put("replay/1", None)
        await round_of_the_loop()
        unsubscribe()
        unsubscribe()
        await control.put("replay/2", {"at": 0})
        await round_of_the_loop()
        return seen

    assert asyncio.run(story()) == [
        ("replay/1", {"at": 0}),
        ("replay/1", {"at": 1}),
        ("replay/1", None),
    ]


def test_an_error_of_a_callback_is_kept_and_the_others_are_called() -> None:
    async def story() -> tuple[Any, Seen]:
        control, seen = MemoryControl(), Seen()

        def broken(key: str, value: Any) -> None:
            raise ZeroDivisionError(key)

        control.subscribe("", broken)
        control.subscribe("", lambda key, value: seen.append((key, value)))
        await control.put("a", {})
        await round_of_the_loop()
        return control.failure, seen

    failure, seen = asyncio.run(story())
    assert isinstance(failure, ZeroDivisionError)
    assert seen == [("a", {})]


def test_a_reader_keeps_its_own_copy() -> None:
    async def story() -> None:
        control, value = MemoryControl(), {"at": 1}
        await control.put("a", value)
        value["at"] = 2
        await round_of_the_loop()
        assert control.state == {"a": {"at": 1}}

    asyncio.run(story())


def test_what_is_not_json_cannot_be_put() -> None:
    with pytest.raises(TypeError):
        asyncio.run(MemoryControl().put("a", {"what": object()}))


def test_a_record_is_json_and_none_removes_its_key() -> None:
    assert control_record("orders.control", "a/ü", {"x": 1}) == (
        "orders.control",
        "a/ü".encode(),
        b'{"x":1}',
        [],
    )
    assert control_record("orders.control", "a", None)[2] is None
