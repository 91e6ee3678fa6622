"""The type of a whole, as an order with its lines: which of its fields holds the rows, and which
columns they have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from trunkline.connectors.sql.table import Field, fields_of
from trunkline.errors import ConfigurationError
from trunkline.schemas.avro import named_types


class Whole(NamedTuple):
    """The field that holds the rows, the fields of each row, and those that it has of the whole."""

    rows: str
    of_row: list[Field]
    of_whole: list[Field]

    def fields(self, first_columns: Sequence[str]) -> list[Field]:
        """The fields of the table, of these columns first: with the owner's before all others
        the primary key's index finds an owner's rows."""
        all_, names = [*self.of_whole, *self.of_row], dict.fromkeys(first_columns)
        first = [field for name in names for field in all_ if field.column == name]
        return [*first, *(field for field in all_ if field not in first)]


def whole_of(
    parsed: Mapping[str, Any],
    rows: str | None,
    columns: Mapping[str, str] | None,
    owner: Sequence[str],
    key: Sequence[str],
    positions: str | None,
) -> Whole:
    """How a whole of a parsed Avro record becomes rows.

    ``rows``: the field that holds them, None if there is one only. A row has its own fields, and
    of the whole's those of the owner that it lacks; with ``columns`` those that it names, looked
    for in the row first. Raises ConfigurationError for a type or arguments that cannot be.
    """
    _check_arguments(owner, key, positions)
    found = dict(_lists_of_records(parsed))
    if rows is None and len(found) != 1:
        has = f"has several ({', '.join(found)}): name it, rows=" if found else "has none"
        raise ConfigurationError(f"owner= needs a field that lists rows, but {_name(parsed)} {has}")
    rows = next(iter(found)) if rows is None else rows
    if rows not in found:
        there = ", ".join(found) or "none"
        raise ConfigurationError(
            f"rows={rows!r} is no field of {_name(parsed)} that lists rows (there are: {there})"
        )
    return Whole(rows, *_fields(parsed, found[rows], rows, columns, owner))


def _fields(
    whole: Mapping[str, Any],
    row: Mapping[str, Any],
    rows: str,
    columns: Mapping[str, str] | None,
    owner: Sequence[str],
) -> tuple[list[Field], list[Field]]:
    own = {field["name"] for field in row["fields"]}
    others = {field["name"] for field in whole["fields"]} - own - {rows}
    if columns is None:
        columns = {name: name for name in [*own, *others] if name in own or name in owner}
    if unknown := [name for name in columns if name not in own | others]:
        raise ConfigurationError(
            f"columns= names {', '.join(unknown)}, but a row of {_name(whole)}.{rows} has "
            f"{', '.join(sorted(own))}, and besides {', '.join(sorted(others)) or 'nothing'}"
        )
    order = [field["name"] for field in row["fields"]]
    of_row = {name: columns[name] for name in order if name in columns}
    of_whole = {name: column for name, column in columns.items() if name in others}
    found = fields_of(row, of_row, within=whole), fields_of(whole, of_whole)
    there = [field.column for fields in found for field in fields]
    if missing := [name for name in owner if name not in there]:
        raise ConfigurationError(
            f"owner {', '.join(missing)} is no column (there are: {', '.join(there)}): give it a "
            "field of the rows or of the whole, with columns= if that has another name"
        )
    return found


def _check_arguments(owner: Sequence[str], key: Sequence[str], positions: str | None) -> None:
    if outside := [name for name in owner if name not in key]:
        raise ConfigurationError(
            f"owner {', '.join(outside)} is not in the key ({', '.join(key)}), so that a row of "
            f"one owner could become another's: key=({', '.join(map(repr, [*owner, *key]))})"
        )
    if len(owner) == len(key):
        raise ConfigurationError(
            f"owner= is all of the key ({', '.join(key)}), so that an owner has one row: add what "
            "tells its rows apart to key=, or leave owner= out"
        )
    if positions is None:
        raise ConfigurationError(
            "owner= needs the table of positions, whose locks keep two writers of one owner "
            "apart: leave positions=None out"
        )


def _lists_of_records(parsed: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The fields that hold arrays of records, with the records' types."""
    named = named_types(parsed)
    for field in parsed["fields"]:
        array = _only(field["type"])
        if isinstance(array, dict) and array.get("type") == "array":
            items = named.get(array["items"]) if isinstance(array["items"], str) else array["items"]
            if isinstance(items, dict) and items.get("type") == "record":
                yield field["name"], items


def _only(avro: Any) -> Any:
    """The type beside null of a union, any other as it is."""
    rest = [branch for branch in avro if branch != "null"] if isinstance(avro, list) else [avro]
    return rest[0] if len(rest) == 1 else None


def _name(parsed: Mapping[str, Any]) -> str:
    return str(parsed["name"])
