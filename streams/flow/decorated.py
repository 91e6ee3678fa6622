"""What each decorated function of a flow is: a definition with a name and a place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from trunkline import naming
from trunkline.errors import ConfigurationError
from trunkline.streams.flow.problems import Problem, SourceLocation


class DeclaringFlow(Protocol):
    """The flow of a definition as that sees it: ``definition.Flow``, which knows this class."""

    name: str
    version: str
    params: Any
    clients: list[Any]
    enrichments: list[Any]
    operations: list[Any]
    tables: list[Any]
    problems: list[Problem]


class Definition:
    """A decorated function: its name, its place, and itself."""

    def __init__(self, flow: DeclaringFlow, function: Callable[..., Any], kind: str) -> None:
        if isinstance(function, Definition):
            raise ConfigurationError(
                f"{function!r} has a decorator of the flow: a {kind} too? "
                "Write a function of its own"
            )
        self.place = SourceLocation.of(function)
        self.flow = flow
        self.function = function
        self.name: str = function.__name__
        self.kind = kind
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __repr__(self) -> str:
        return f"<{self.kind} {naming.qualified(self.flow.name, self.name)}>"
