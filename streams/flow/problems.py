"""What is wrong with a flow, and where: each line that ``trunkline check`` prints."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trunkline.errors import ConfigurationError


@dataclass(frozen=True, slots=True, order=True)
class SourceLocation:
    """Where a definition stands. Line 0: the file as a whole."""

    file: str
    line: int = 0

    @classmethod
    def of(cls, function: Callable[..., Any]) -> SourceLocation:
        """The place of a function. Raises ConfigurationError for what was not written as one."""
        code = getattr(inspect.unwrap(function), "__code__", None)
        if code is None:
            raise ConfigurationError(f"{function!r} is not a function: decorate a def")
        return cls(code.co_filename, code.co_firstlineno)

    @classmethod
    def of_caller(cls, depth: int) -> SourceLocation:
        """The line that is being run ``depth`` calls above the caller of this method."""
        frame = sys._getframe(depth + 1)
        return cls(frame.f_code.co_filename, frame.f_lineno)

    def __str__(self) -> str:
        """``file:line``, the file as seen from the working directory if it is below it."""
        here = os.getcwd() + os.sep
        file = self.file.removeprefix(here)
        return f"{file}:{self.line}" if self.line else file


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a flow, and where. A warning does not keep the flow from running."""

    place: SourceLocation
    message: str
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.place}: {'warning: ' if self.warning else ''}{self.message}"


class FlowError(ConfigurationError):
    """A flow file cannot be used; ``problem`` says why and where."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def parsed_arguments(
    options: Mapping[str, Any], parsers: Mapping[str, Callable[[Any], Any]], *besides: str
) -> tuple[dict[str, Any], list[str]]:
    """What the arguments of a decorator mean, by their names, and what is wrong with the others, in
    sentences. A wrong argument counts as not given, so that everything that is wrong is found at
    once. ``besides``: arguments that there are, too, and are read elsewhere."""
    found: dict[str, Any] = {}
    wrong: list[str] = []
    for name, value in options.items():
        try:
            if name not in parsers:
                known = ", ".join((*besides, *parsers))
                raise ConfigurationError(f"it is no argument: there are {known}")
            found[name] = parsers[name](value)
        except ConfigurationError as error:
            wrong.append(f"{name}=: {error}")
    return found, wrong
