"""Refuses what fastavro would write wrong without a word.

It writes 12.34 and True into a long as 12 and 1, "f" into a boolean as true, a number of 40 bits
into an int, the letters of a text into an array, and takes a datetime without a time zone for
the local time of the machine. Type checkers catch that, but not in the rows of a source.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from trunkline.schemas import avro

Check = Callable[[Any], None]
"""Raises Unfit for a value that does not fit; returns nothing."""


class Unfit(ValueError):
    """A value does not fit its type. ``path``: the fields that lead to it, outer first."""

    def __init__(self, wanted: str, value: Any) -> None:
        super().__init__(wanted, value)
        self.path: list[str] = []
        self.wanted = wanted
        # Not the value itself: it may be confidential, and errors go to logs and headers.
        self.found = "nothing" if value is None else type(value).__name__

    def __str__(self) -> str:
        return f"{'.'.join(self.path)} wants {self.wanted}, not {self.found}"


def checker(schema: Any, records: dict[str, Check] | None = None) -> Check | None:
    """What to check before fastavro writes a value of a parsed schema; None: it checks enough.

    ``records``: the checks of the records around this schema.
    """
    records = {} if records is None else records
    match avro.kind(schema):
        case "int" | "long" | "boolean" as kind:
            logical = schema.get("logicalType") if isinstance(schema, dict) else None
            return LOGICAL[logical] if logical in LOGICAL else PLAIN[kind]
        case "record":
            return _record(schema, records)
        case "array":
            return _array(checker(schema["items"], records))
        case "map":
            return _map(checker(schema["values"], records))
        case "union":
            return _nullable(schema, records)
        case name if name in records:
            return records[name]
        case _:
            return None


def _record(schema: dict[str, Any], records: dict[str, Check]) -> Check | None:
    fields: list[tuple[str, Check]] = []

    def check(data: Any) -> None:
        for name, check_field in fields:
            if name in data:
                try:
                    check_field(data[name])
                except Unfit as unfit:
                    unfit.path.insert(0, name)
                    raise

    records[schema["name"]] = check
    for field in schema["fields"]:
        check_field = checker(field["type"], records)
        if check_field is not None:
            fields.append((field["name"], check_field))
    return check if fields else None


def _array(check_item: Check | None) -> Check:
    def check(items: Any) -> None:
        if isinstance(items, str):
            raise Unfit("a list", items)
        if check_item is not None:
            for item in items:
                check_item(item)

    return check


def _map(check_value: Check | None) -> Check | None:
    if check_value is None:
        return None

    def check(data: Any) -> None:
        for value in data.values():
            check_value(value)

    return check


def _nullable(branches: list[Any], records: dict[str, Check]) -> Check | None:
    """A union of null and one type; of others fastavro itself finds out which one fits, and
    in unions it is strict about plain types."""
    types = [branch for branch in branches if branch != "null"]
    check_value = checker(types[0], records) if len(types) == 1 else None
    if check_value is None or check_value in PLAIN.values():
        return None

    def check(value: Any) -> None:
        if value is not None:
            check_value(value)

    return check


def _int(value: Any) -> None:
    if not isinstance(value, int) or value is True or value is False:
        raise Unfit("an int", value)
    if not -(2**31) <= value < 2**31:
        raise Unfit("an int of 32 bits", value)


def _long(value: Any) -> None:
    if not isinstance(value, int) or value is True or value is False:
        raise Unfit("an int", value)


def _boolean(value: Any) -> None:
    if value is not True and value is not False:
        raise Unfit("a bool", value)


def _date(value: Any) -> None:
    if not isinstance(value, date | int) or isinstance(value, datetime):
        raise Unfit("a date", value)


def _moment(value: Any) -> None:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise Unfit("a datetime with a time zone", value)
    else:
        _long(value)


PLAIN: dict[str, Check] = {"int": _int, "long": _long, "boolean": _boolean}
LOGICAL: dict[str, Check | None] = {
    "date": _date,
    "timestamp-millis": _moment,
    "timestamp-micros": _moment,
    "local-timestamp-millis": None,
    "local-timestamp-micros": None,
    "time-millis": None,
    "time-micros": None,
}
