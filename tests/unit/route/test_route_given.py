"""A route's further parameters are given to it once, and not with each event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

import pytest

from trunkline.event import Event
from trunkline.streams.route.compiled import given

EVENT: Event[Any] = Event("7", None, (), bytes)
FIXED = {"customers": "a table", "env": "an env"}


def by_position(event: Any, env: Any, customers: Any) -> Any:
    return event.key, env, customers


def by_name(event: Any, *, customers: Any, env: Any) -> Any:
    return event.key, env, customers


def with_more(event: Any, customers: Any, env: Any, limit: int = 5, *, factor: int = 2) -> Any:
    assert (limit, factor) == (5, 2)
    return event.key, env, customers


def with_a_default_by_name(event: Any, customers: Any, env: Any, *, factor: int = 2) -> Any:
    assert factor == 2
    return event.key, env, customers


@wraps(by_position)
def wrapper(*args: Any, **kwargs: Any) -> Any:
    return by_position(*args, **kwargs)


class Callee:
    def __call__(self, event: Any, env: Any, customers: Any) -> Any:
        return event.key, env, customers


@pytest.mark.parametrize(
    "function",
    [by_position, by_name, with_more, with_a_default_by_name, wrapper, Callee()],
    ids=str,
)
def test_each_kind_of_function_gets_its_parameters(function: Callable[..., Any]) -> None:
    assert given(function, FIXED)(EVENT) == ("7", "an env", "a table")


def test_the_function_itself_stays_as_it_was_and_keeps_what_it_encloses() -> None:
    enclosed = ["x"]

    def route(event: Any, customers: Any) -> Any:
        return customers, enclosed[0]

    first, second = (given(route, {"customers": table}) for table in ("one", "two"))
    assert (first(EVENT), second(EVENT)) == (("one", "x"), ("two", "x"))
    assert route.__defaults__ is None
    with pytest.raises(TypeError, match="customers"):
        route(EVENT)  # type: ignore[call-arg]


def test_an_async_route_is_still_known_as_one() -> None:
    async def route(event: Any, customers: Any) -> Any:
        return customers

    made = given(route, {"customers": "a table"})
    assert iscoroutinefunction(made)
    assert asyncio.run(made(EVENT)) == "a table"
