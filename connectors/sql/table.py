"""The table of an Avro record type: its columns, and the table of positions beside it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    Time,
    TypeDecorator,
    Uuid,
)
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from trunkline.errors import ConfigurationError, DataError
from trunkline.schemas.avro import named_types

Avro = Any
"""A parsed Avro schema: str, dict or list (union)."""

MYSQL: Any = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",  # "a" is not "A"
}
KEY_LENGTH = 255
"""Characters of a text key where the database wants a limit (MySQL, MariaDB)."""


class _Bytewise(TypeDecorator[str]):
    """Text that MySQL and MariaDB compare byte by byte: their collations hold ``a`` = ``A `` ."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        binary = dialect.name == "mysql"
        return dialect.type_descriptor(mysql.VARBINARY(700) if binary else Text())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return value.encode() if dialect.name == "mysql" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return value.decode() if isinstance(value, bytes) else value


class _Exact(TypeDecorator[Decimal]):
    """NUMERIC, but text in SQLite, whose numbers are floats."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else self.impl_instance)

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return str(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return Decimal(value) if isinstance(value, str) else value


def _json() -> TypeEngine[Any]:
    return JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def _moment(zone: bool) -> TypeEngine[Any]:
    return DateTime(timezone=zone).with_variant(mysql.DATETIME(fsp=6), "mysql")


SIMPLE: dict[str, Callable[[], TypeEngine[Any]]] = {
    "string": lambda: Text().with_variant(mysql.LONGTEXT(), "mysql"),
    "bytes": lambda: LargeBinary().with_variant(mysql.LONGBLOB(), "mysql"),
    "fixed": lambda: LargeBinary().with_variant(mysql.LONGBLOB(), "mysql"),
    "int": Integer,
    "long": BigInteger,
    "float": Float,
    "double": Double,
    "boolean": Boolean,
    "enum": Text,
    "date": Date,
    "time-millis": lambda: Time().with_variant(mysql.TIME(fsp=6), "mysql"),
    "time-micros": lambda: Time().with_variant(mysql.TIME(fsp=6), "mysql"),
    "timestamp-millis": lambda: _moment(True),
    "timestamp-micros": lambda: _moment(True),
    "local-timestamp-millis": lambda: _moment(False),
    "local-timestamp-micros": lambda: _moment(False),
    "uuid": Uuid,
}

FROM_TEXT: dict[str, Callable[[str], Any]] = {
    "int": int,
    "long": int,
    "float": float,
    "double": float,
    "boolean": lambda text: {"true": True, "false": False}[text.lower()],
    "bytes": lambda text: base64.b64decode(text, validate=True),
    "decimal": Decimal,
    "date": date.fromisoformat,
    "time-millis": time.fromisoformat,
    "time-micros": time.fromisoformat,
    "timestamp-millis": datetime.fromisoformat,
    "timestamp-micros": datetime.fromisoformat,
    "local-timestamp-millis": datetime.fromisoformat,
    "local-timestamp-micros": datetime.fromisoformat,
    "uuid": UUID,
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the type and the column that holds it."""

    name: str
    column: str
    kind: str
    """The Avro type or logical type, ``json`` for all that has fields or items of its own."""
    avro: Avro
    nullable: bool
    default: Any = None
    """As the schema writes it; None where it has none, or null."""

    def column_type(self, *, key: bool) -> TypeEngine[Any]:
        """The column's type; a key's is short enough for an index of any database."""
        if self.kind == "decimal":
            return _Exact(self.avro["precision"], self.avro.get("scale", 0))
        if self.kind not in SIMPLE:
            return _json()
        if key and self.kind in ("string", "enum"):
            return Text().with_variant(String(KEY_LENGTH), "mysql")
        return SIMPLE[self.kind]()

    def canonical(self, value: Any) -> Any:
        """The one form of values that are equal to the database: as a key they are one key.

        ``1.5`` is ``1.50`` in a column of two decimals, and a moment is that of any time zone."""
        if self.kind == "decimal" and isinstance(value, Decimal) and value.is_finite():
            exponent = Decimal(1).scaleb(-self.avro.get("scale", 0))
            return value.quantize(exponent) if value.quantize(exponent) == value else value
        if self.kind.startswith("timestamp") and isinstance(value, datetime):
            return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        return value

    @property
    def has_forms(self) -> bool:
        """Whether ``canonical`` may change a value."""
        return self.kind == "decimal" or self.kind.startswith("timestamp")

    def parsed(self, text: str) -> Any:
        """The column's value that ``text`` of an event key stands for. Raises DataError."""
        try:
            return self.canonical(FROM_TEXT.get(self.kind, str)(text))
        except (ValueError, ArithmeticError, KeyError) as error:
            raise DataError(
                f"the event's key is no {self.kind} for column {self.column}"
            ) from error


def fields_of(
    parsed: Mapping[str, Any],
    columns: Mapping[str, str] | None,
    within: Mapping[str, Any] | None = None,
) -> list[Field]:
    """The fields of a parsed Avro record; ``columns``: only these, under other column names.

    ``within``: the type that the record is a part of, which may define types that it names."""
    known = {field["name"]: field["type"] for field in parsed["fields"]}
    defaults = {field["name"]: field.get("default") for field in parsed["fields"]}
    chosen = {name: name for name in known} if columns is None else columns
    if unknown := [name for name in chosen if name not in known]:
        raise ConfigurationError(
            f"columns= names {', '.join(unknown)}, but {parsed['name']} has {', '.join(known)}"
        )
    named = named_types(within or parsed)
    return [
        replace(_field(name, chosen[name], known[name], named), default=defaults[name])
        for name in chosen
    ]


def _field(name: str, column: str, avro: Avro, named: Mapping[str, Avro]) -> Field:
    nullable = False
    if isinstance(avro, list):
        nullable = "null" in avro
        rest = [branch for branch in avro if branch != "null"]
        avro = rest[0] if len(rest) == 1 else {"type": "union"}
    if isinstance(avro, str):
        avro = named.get(avro, {"type": avro})
    kind = avro.get("logicalType") or avro["type"]
    if kind not in SIMPLE and kind != "decimal":
        kind = avro["type"] if avro["type"] in SIMPLE else "json"
    return Field(name, column, kind, avro, nullable)


def tables_for(
    table: str, fields: Sequence[Field], key: Sequence[str], positions: str | None
) -> tuple[Table, Table | None]:
    """The table of the rows and the table of the positions, if there is to be one.

    Raises ConfigurationError for a key that is no column.
    """
    if missing := [name for name in key if name not in {field.column for field in fields}]:
        there = ", ".join(field.column for field in fields)
        raise ConfigurationError(
            f"table {table}: key {', '.join(missing)} is no column (there are: {there})"
        )
    schema, _, name = table.rpartition(".")
    metadata = MetaData(schema=schema or None)
    rows = Table(name, metadata, *(_column(field, key) for field in fields), **MYSQL)
    if positions is None:
        return rows, None
    return rows, Table(
        positions.replace("{table}", name),
        metadata,
        Column("tl_key", _Bytewise, primary_key=True),
        Column("tl_inbox", _Bytewise, primary_key=True),
        Column("tl_pos", BigInteger, nullable=False),
        **MYSQL,
    )


def calls_table(table: str) -> Table:
    """The table that knows which calls were done, and how they were answered."""
    schema, _, name = table.rpartition(".")
    return Table(
        name,
        MetaData(schema=schema or None),
        Column("tl_call", _Bytewise, primary_key=True),
        Column("tl_at", _moment(True), nullable=False),
        # Else those that are forgotten were looked for in all of the table.
        Index(f"{name[:40]}_tl_at", "tl_at"),
        Column("tl_reply", SIMPLE["string"](), nullable=True),
        **MYSQL,
    )


def _column(field: Field, key: Sequence[str]) -> Column[Any]:
    in_key = field.column in key
    return Column(
        field.column,
        field.column_type(key=in_key),
        primary_key=in_key,
        autoincrement=False,
        nullable=field.nullable and not in_key,
    )
