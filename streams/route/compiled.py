"""Topics and routes with everything that a router needs per event looked up once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from inspect import iscoroutinefunction
from types import FunctionType
from typing import Any

from trunkline.errors import SCHEMA_UNAVAILABLE, DataError
from trunkline.event import Event
from trunkline.headers import CE_TYPE
from trunkline.schemas.codec import Decode, Encode
from trunkline.schemas.personal import PersonalTexts, hide_in


@dataclass(frozen=True, slots=True)
class CompiledCall:
    """The operation that a route calls. ``key``: the field of its request that names the entity, ""
    for none; ``client``: who calls, as the call's record has it; ``sent``: makes what goes through
    Kafka of what the route returns, where that is something else."""

    operation: str
    key: str
    client: str
    sent: Callable[[Any], Any] | None = None


@dataclass(slots=True)
class CompiledRoute:
    """A route of the flow.

    ``only``: patterns of event types, () for all; ``accepts_deletes``: whether the destination's
    sink takes deletes that carry only a key. ``name``: of the route, in the flow. ``deletes``:
    whether the function gets the deletes, too; ``otherwise_delete``: whether a delete is sent
    where it returns nothing. ``call``: the operation that is called with what it returns.
    """

    function: Callable[[Event[Any]], Any]
    name: str
    inbox: str
    dlq: str
    encode: Encode
    only: tuple[str, ...] = ()
    accepts_deletes: bool = False
    is_async: bool = False
    deletes: bool = False
    otherwise_delete: bool = False
    call: CompiledCall | None = None

    @classmethod
    def of(cls, function: Callable[[Event[Any]], Any], **more: Any) -> CompiledRoute:
        """The route of ``function``; ``more``: its other fields."""
        if "name" not in more:  # a partial has none
            more["name"] = function.__name__
        return cls(function=function, is_async=iscoroutinefunction(function), **more)

    def listens(self, event_type: str) -> bool:
        """Whether the route wants events of this type."""
        return not self.only or any(fnmatchcase(event_type, pattern) for pattern in self.only)

    def takes_delete(self, event: Event[Any]) -> bool:
        """Whether the function gets an event without a value; any other is forwarded by its key.

        A truncate concerns a table and no entity: no function can make a message of it.
        """
        return self.deletes and event.change != "truncate"


@dataclass(slots=True)
class CompiledTopic:
    """A canonical topic: how its values are decoded, and its routes. ``personal``: the texts of a
    value that no error may tell, if its type has fields that are tagged so."""

    decode: Decode
    routes: list[CompiledRoute]
    personal: PersonalTexts | None = None
    _routes_of_type: dict[bytes, list[CompiledRoute]] = field(default_factory=dict)

    def hidden(self, event: Event[Any], error: Exception) -> Exception:
        """An error of a route, without what is personal in the event."""
        if self.personal is None:
            return error
        try:
            data = event.data
        except (DataError, *SCHEMA_UNAVAILABLE):  # a route cannot have told what it has not read
            return error
        return hide_in(error, self.personal(data))

    def matching_routes(self, event: Event[Any]) -> list[CompiledRoute]:
        """The routes that want an event of this type. The value is not decoded for that."""
        event_type = event.raw_header(CE_TYPE)
        found = self._routes_of_type.get(event_type)
        if found is None:  # types are few: the patterns are matched once for each
            found = [route for route in self.routes if route.listens(event.type)]
            self._routes_of_type[event_type] = found
        return found


def given(function: Callable[..., Any], values: Mapping[str, Any]) -> Callable[[Event[Any]], Any]:
    """The route's function of its event alone: its further parameters have these values.

    A copy of the function that has them as defaults: a call with names takes 0.1 µs more an event.
    What has no such parameters by position, or is no plain function, is called with names.
    """
    if type(function) is not FunctionType:
        return partial(function, **values)
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    further = names[len(names) - len(values) :]
    if set(further) != values.keys():  # they are named behind a *, or it wraps the route
        return partial(function, **values)
    defaults = tuple(values[name] for name in further)
    scope, name, closure = function.__globals__, function.__name__, function.__closure__
    made = FunctionType(code, scope, name, defaults, closure)
    made.__kwdefaults__ = function.__kwdefaults__
    return made
