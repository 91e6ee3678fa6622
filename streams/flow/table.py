"""Tables: the newest value per key of a canonical topic, for routes that look something up.

``Table`` and ``Index`` are what a route's parameter is annotated with, and what it may do;
``TableDefinition`` is what ``flow.table`` declares. The rows are kept by ``streams/tables``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar, get_args, overload

from trunkline.streams.flow.problems import Problem, SourceLocation

if TYPE_CHECKING:
    from trunkline.streams.flow.definition import Flow, Topic

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
D = TypeVar("D")

StoreKind = Literal["memory", "disk"]
"""Where the rows of a table are: in the worker's memory, or in RocksDB on its disk."""
STORE_KINDS: tuple[str, ...] = get_args(StoreKind)

IndexedValue = str | int | bool
"""What an index can be asked for: the value of a field of text, of whole numbers, or true or
false."""


class Table(Protocol[T_co]):
    """The newest value per key of a canonical topic, as one worker has read it.

    Each look-up returns a value of its own: changing it changes no row. A row that cannot be
    decoded raises SerializationError. A disk that cannot be read holds routing.
    """

    @overload
    def get(self, key: str) -> T_co | None: ...
    @overload
    def get(self, key: str, default: D) -> T_co | D: ...
    def get(self, key: str, default: Any = None) -> Any:
        """The value of this key, or ``default`` if there is none."""
        ...

    def __getitem__(self, key: str) -> T_co:
        """The value of this key. Raises KeyError if there is none."""
        ...

    def __contains__(self, key: object) -> bool:
        """Whether there is a value of this key."""
        ...

    def __len__(self) -> int:
        """How many rows there are."""
        ...

    def scan(self, prefix: str = "") -> Iterator[tuple[str, T_co]]:
        """Keys that begin with ``prefix``, and their values, in the order of the keys' bytes."""
        ...


class Index(Protocol[T]):
    """The rows of a canonical topic by one of their fields: ``flow.table(lines, by="order_id")``.

    As ``Table`` says of values and errors. A row whose field is null is under no value.
    """

    def get(self, value: IndexedValue) -> list[T]:
        """The rows whose field has this value, in the order of their keys; [] if there is none."""
        ...

    def __getitem__(self, value: IndexedValue) -> list[T]:
        """As ``get``. Raises KeyError if there is none."""
        ...

    def __contains__(self, value: object) -> bool:
        """Whether there is a row whose field has this value."""
        ...

    def scan(self, prefix: str = "") -> Iterator[tuple[str, T]]:
        """The rows whose field is a text that begins with ``prefix``: the text and the row, in the
        order of the texts' bytes."""
        ...


@dataclass(frozen=True, eq=False)
class TableDefinition(Generic[T]):
    """A table of a flow. ``name``: in logs and metrics, and the name of the parameter where several
    tables are of one type. ``by``: the field of an index, "" for a table by key."""

    flow: Flow[Any]
    topic: Topic[T]
    name: str
    by: str
    store: StoreKind
    place: SourceLocation

    @property
    def kind(self) -> str:
        """``table``, or ``index``."""
        return "index" if self.by else "table"

    def __repr__(self) -> str:
        return f"<{self.kind} {self.flow.name}.{self.name}>"


def declared_table(
    flow: Any, topic: Any, by: str, name: str, store: StoreKind, place: SourceLocation
) -> TableDefinition[Any]:
    """A table of the flow; one of what is no topic is a problem of the flow instead."""
    table = TableDefinition(flow, topic, name or _default_name(topic, by), by, store, place)
    if getattr(topic, "kind", "") == "topic":
        flow.tables.append(table)
    else:
        message = f"table: its first argument is {topic!r}: name a topic of this flow"
        flow.problems.append(Problem(place, message))
    return table


def _default_name(topic: Topic[Any], by: str) -> str:
    """The topic's name as a parameter can have it: ``customers``, ``shop_lines_by_order_id``."""
    name = re.sub(r"\W", "_", str(getattr(topic, "name", topic)))
    return f"{name}_by_{by}" if by else name
