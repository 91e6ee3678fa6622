"""What an event makes of a table's rows: one row by its key, or all rows of an owner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trunkline.connectors.sql.table import Field
from trunkline.connectors.sql.wholes import Whole
from trunkline.errors import DataError, NoData
from trunkline.event import Event, join_key, split_key
from trunkline.naming import destination_of

Row = dict[str, Any]
"""The values of a row by column."""


@dataclass(slots=True)
class Change:
    """What one event makes of the row of a key, or of all rows of an owner: their new state.

    ``key`` is how the table of positions names it, ``values`` are those of its columns. No rows:
    it is deleted, or a whole without parts.
    """

    key: str
    values: tuple[Any, ...]
    rows: list[Row]
    inbox: str
    position: int


class RowReader:
    """Reads events that hold one row each. ``identity``: the fields of the row's key."""

    def __init__(self, fields: Sequence[Field], key: Sequence[Field]) -> None:
        self.identity = list(key)
        self._fields = fields
        self._names = _columns(key)
        self._forms = any(field.has_forms for field in key)

    def change(self, event: Event[Any]) -> Change:
        """What the event makes of its row. Raises DataError, NoData for an event that cannot be
        applied."""
        data, deleted = _data(event), event.change == "delete"
        row = None if data is None else _row(self._fields, data)
        if row is None:
            values = key_values(self.identity, event.key)
        else:
            values = tuple(row[field.column] for field in self.identity)
            if self._forms:
                values = canonical(self.identity, values)
        if None in values:
            raise NoData(f"a value of the key ({self._names}) is null")
        key = join_key([str(value) for value in values])
        # Most keys are equal as they stand; a moment or a boolean may be written in another way.
        if event.key != key and not deleted and not self._stands_for(event.key, values):
            raise DataError(
                f"the event's key is not that of its row ({self._names}), so that a delete "
                "would not find the row: let the route return Message(data, key=the row's key)"
            )
        rows = [] if deleted or row is None else [row]
        return Change(key, values, rows, inbox_partition(event), event.sequence)

    def _stands_for(self, key: str, values: tuple[Any, ...]) -> bool:
        """Whether the text of an event key is that of these values."""
        try:
            return key_values(self.identity, key) == values
        except DataError:
            return False


class WholeReader:
    """Reads events that hold all rows of an owner. ``identity``: the fields of the owner."""

    def __init__(self, whole: Whole, owner: Sequence[Field], key: Sequence[Field]) -> None:
        self.identity = list(owner)
        self._rows, self._of_row, self._of_whole = whole
        self._key = key
        self._names = _columns(owner)

    def change(self, event: Event[Any]) -> Change:
        """What the event makes of its owner's rows. Raises DataError, NoData for an event that
        cannot be applied.

        The owner is the event's key: a delete, and a whole without rows, have no other."""
        owner = key_values(self.identity, event.key)
        key = join_key([str(value) for value in owner])
        data = _data(event)
        rows = [] if data is None or event.change == "delete" else list(self._read(data, owner))
        return Change(key, owner, rows, inbox_partition(event), event.sequence)

    def _read(self, data: Mapping[str, Any], owner: tuple[Any, ...]) -> Iterator[Row]:
        of_whole = _row(self._of_whole, data)
        self._check_owner(of_whole, owner)
        parts = data.get(self._rows)
        if parts is None:
            raise NoData(f"field {self._rows} is null: an empty list says that there are no rows")
        seen: set[tuple[Any, ...]] = set()
        for part in parts:
            row = of_whole | _row(self._of_row, part)
            self._check_owner(row, owner)
            key = canonical(self._key, tuple(row[field.column] for field in self._key))
            if None in key:
                raise NoData(f"a value of a row's key ({_columns(self._key)}) is null")
            if key in seen:
                raise DataError(f"two rows of {self._rows} have one key ({_columns(self._key)})")
            seen.add(key)
            yield row

    def _check_owner(self, row: Row, owner: tuple[Any, ...]) -> None:
        for field, value in zip(self.identity, owner, strict=True):
            if field.column in row and field.canonical(row[field.column]) != value:
                raise DataError(
                    f"the event's key is not the owner of its rows ({self._names}), so that a "
                    "delete would not find them: let the route return "
                    "Message(data, key=the owner)"
                )


def key_values(key: Sequence[Field], text: str) -> tuple[Any, ...]:
    """The values that an event key stands for. Raises DataError, NoData for another number."""
    texts = split_key(text)
    if len(texts) != len(key):
        raise NoData(f"the event's key does not hold a value each for {_columns(key)}")
    return tuple(field.parsed(text) for field, text in zip(key, texts, strict=True))


def inbox_partition(event: Event[Any]) -> str:
    """The inbox partition that the position counts in; an event of a retry tier keeps its own."""
    return f"{destination_of(event.inbox) or event.inbox}/{event.partition}"


def _data(event: Event[Any]) -> Any:
    """The event's data; None for a delete without."""
    if event.change == "truncate":
        raise NoData("a truncate is not delivered to a table: empty it by hand if it is meant")
    return None if event.value is None and event.change == "delete" else event.data


def _row(fields: Sequence[Field], data: Mapping[str, Any]) -> Row:
    return {field.column: data.get(field.name) for field in fields}


def canonical(fields: Sequence[Field], values: Sequence[Any]) -> tuple[Any, ...]:
    """The values in the one form of each that is equal to the database."""
    return tuple(field.canonical(value) for field, value in zip(fields, values, strict=True))


def _columns(fields: Sequence[Field]) -> str:
    return ", ".join(field.column for field in fields)
