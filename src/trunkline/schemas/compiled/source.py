"""Generates the source of a function that reads or writes values of one schema.

Why: whoever looks at the schema anew for every value takes twice the time to read a record of
twenty values, three times to write one of five (measured with fastavro).

It knows the frequent types, and of those the usual values; for the others it calls the functions of
``exact/``. Whatever is unusual (a number of more than 64 bits, a missing field, bytes that end too
early) it leaves to ``careful``, the function that does everything step by step: so only that one
decides what is wrong, and says it. The binary form is the Avro specification's, "Binary encoding".
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from trunkline.schemas import avro
from trunkline.schemas.exact.logical import logical_of

UNUSUAL = (
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    struct.error,
)
"""What a generated function may raise at a value that it leaves to ``careful``."""
LEAVE = "raise ValueError"


MAX_LOOPS = 16
"""Loops in one another: Python takes 20 blocks, and the function has one of its own."""
MAX_DEPTH = 80
"""Blocks in one another: Python takes 100 indentations."""
MAX_LINES = 40_000
"""Lines of a function: a record of 5,000 fields has 25,000, and compiles for seconds. A type that
is named at many places is written out at each of them: a schema of 2.5 KB, five levels with eight
fields of the level below, would be gigabytes."""


class NotGenerated(Exception):
    """The schema is too deep or too large for one function."""


class Source:
    """The source of one function of one argument, as it grows."""

    def __init__(self, **known: object) -> None:
        self._lines: list[str] = []
        self._depth = 2
        self._loops = 0
        self._names = 0
        self._known = {"UNUSUAL": UNUSUAL, **known}

    def add(self, *lines: str) -> None:
        """Append lines at the present depth. Raises NotGenerated when it grows too large."""
        if len(self._lines) > MAX_LINES:
            raise NotGenerated("too large")
        self._lines += ["    " * self._depth + line for line in lines]

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """What is added meanwhile stands under ``header``. Raises NotGenerated when it would be
        deeper than Python takes."""
        is_loop = header.startswith(("for ", "while "))
        if self._depth >= MAX_DEPTH or self._loops + is_loop > MAX_LOOPS:
            raise NotGenerated("too deep")
        self.add(header)
        self._depth += 1
        self._loops += is_loop
        yield
        self._depth -= 1
        self._loops -= is_loop

    def name(self) -> str:
        """A variable that is not used yet."""
        self._names += 1
        return f"v{self._names}"

    def constant(self, value: object) -> str:
        """The name under which the function knows a value."""
        name = f"c{len(self._known)}"
        self._known[name] = value
        return name

    def function(self, argument: str, careful: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The function. What is unusual to it is done by ``careful``."""
        head = [f"def generated({argument}):", "    try:"]
        tail = ["    except UNUSUAL:", "        pass", f"    return careful({argument})"]
        scope = {**self._known, "careful": careful}
        exec("\n".join([*head, *self._lines, *tail]), scope)
        made: Callable[[Any], Any] = scope["generated"]  # type: ignore[assignment]
        return made


class Generator:
    """Adds to a source what does something with a value, by a method for each kind of schema:
    ``_string``, ``_long_timestamp_millis``."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._named: dict[str, Any] = {}

    def method(self, schema: Any) -> tuple[Callable[..., Any] | None, Any]:
        """The method for a schema, if there is one, and the schema itself where only its name
        stood."""
        kind, schema = self._kind(schema)
        return getattr(self, "_" + kind.replace("-", "_"), None), schema

    def _kind(self, schema: Any) -> tuple[str, Any]:
        if isinstance(schema, str) and schema in self._named:
            schema = self._named[schema]
        kind = avro.kind(schema)
        if isinstance(schema, dict):
            if "name" in schema:
                self._named[schema["name"]] = schema
            if logical_of(schema) is not None:
                kind = f"{kind}-{schema['logicalType']}"
        if kind == "union" and (len(schema) != 2 or "null" not in schema):
            kind = "union-of-several"
        return kind, schema


def nullable(branches: list[Any]) -> tuple[int, Any]:
    """Of a union of null and one type: the number of null, and the type."""
    null = branches.index("null")
    return null, branches[1 - null]
