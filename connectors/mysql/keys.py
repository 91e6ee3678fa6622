"""A table's rows in the order of their key, and those behind one of them: so that a snapshot which
was interrupted goes on where it was.

What the order of an index is and what a comparison says must be the same. Of an ENUM they are not
(by number, by text), nor of a part of a text; such a table has no order here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trunkline.connectors.mysql.names import quoted

Literal = Callable[[bytes], str]
"""A value as the text protocol has it, in SQL."""

_NUMBERS = ("tinyint", "smallint", "mediumint", "int", "bigint", "year", "decimal")
_TEXTS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext")
_BYTES = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
_TIMES = ("date", "datetime", "timestamp", "time")


def literal(type_: str, charset: str) -> Literal | None:
    """How a value of a key's column is written in SQL; None for a type whose order is another one
    than that of its values."""
    if type_ in _NUMBERS:
        return bytes.decode
    if type_ in _TIMES:
        return lambda value: f"'{value.decode()}'"
    if type_ in _BYTES:
        return lambda value: f"X'{value.hex()}'"
    if type_ in _TEXTS:
        return lambda value: f"_{charset} X'{value.hex()}'"
    return None


def in_order(key: Sequence[str]) -> str:
    """The order of a key's index. The server must be told to use it: it would rather sort."""
    return " ORDER BY " + ", ".join(map(quoted, key))


def behind(key: Sequence[str], values: Sequence[str]) -> str:
    """The condition of the rows behind one with these literals.

    Not ``(a, b) > (1, 2)``: neither MySQL nor MariaDB uses an index for that.
    """
    ways = []
    for at, value in enumerate(values):
        same = [f"{quoted(key[n])} = {values[n]}" for n in range(at)]
        ways.append(" AND ".join([*same, f"{quoted(key[at])} > {value}"]))
    return " OR ".join(f"({way})" for way in ways)
