"""The tables as the catalog describes them: what a snapshot reads, and what no source can."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trunkline.connectors.mysql.charsets import BINARY
from trunkline.connectors.mysql.keys import Literal, literal
from trunkline.connectors.mysql.names import quoted, quoted_table, refuse
from trunkline.connectors.mysql.session import Session
from trunkline.connectors.mysql.texts import Convert, converter

_TABLE = (
    "SELECT table_type, engine FROM information_schema.tables "
    "WHERE table_schema = %s AND table_name = %s"
)
_ROWS = (
    "SELECT table_rows FROM information_schema.tables WHERE table_schema = %s AND table_name = %s"
)
_COLUMNS = (
    "SELECT column_name, data_type, column_type, character_set_name, collation_name "
    "FROM information_schema.columns WHERE table_schema = %s AND table_name = %s "
    "ORDER BY ordinal_position"
)
_KEY = (
    "SELECT column_name, sub_part FROM information_schema.statistics "
    "WHERE table_schema = %s AND table_name = %s AND index_name = 'PRIMARY' ORDER BY seq_in_index"
)
_CASCADES = (
    "SELECT constraint_schema, table_name, constraint_name "
    "FROM information_schema.referential_constraints "
    "WHERE constraint_schema = %s AND table_name = %s "
    "AND (delete_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT') "
    "OR update_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT'))"
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and how its text is read."""

    name: str
    type: str
    convert: Convert
    charset: str = BINARY
    collation: str = ""

    @property
    def expression(self) -> str:
        """What to select: the text of a FLOAT has six digits, of which the log has all."""
        name = quoted(self.name)
        return f"CAST({name} AS DOUBLE)" if self.type == "float" else name


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is captured."""

    stream: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    user: str
    """Who asked, as GRANT names it."""
    cascades: tuple[str, ...] = ()
    """Its foreign keys that change rows of it when another table's are changed."""
    literals: tuple[Literal, ...] = ()
    """How the values of its key are written in SQL, to read on behind them; () where that cannot
    be."""

    @property
    def order(self) -> list[str]:
        """What its rows are ordered by: of another one, nothing is behind a key of this one."""
        named = {column.name: column for column in self.columns if column.name in self.key}
        return [
            " ".join((name, named[name].type, named[name].collation)).strip()
            for name in self.key
            if name in named
        ]


def describe(session: Session, streams: Sequence[str]) -> list[Table]:
    """The tables of these names (``database.table``). Raises ConfigurationError that names all
    faults: which are missing, have no key, or columns that cannot be read."""
    tables, faults = described(session, streams)
    refuse(faults)
    return tables


def described(session: Session, streams: Sequence[str]) -> tuple[list[Table], list[str]]:
    """The tables that can be read, and what keeps the others from it."""
    found = [_table(session, stream) for stream in streams]
    faults = [fault for each in found if isinstance(each, list) for fault in each]
    return [table for table in found if isinstance(table, Table)], faults


def present(session: Session, streams: Sequence[str]) -> list[str]:
    """Which of these are in the database."""
    return [stream for stream in streams if session.rows(_TABLE, *stream.split(".", 1))]


def _table(session: Session, stream: str) -> Table | list[str]:
    place = stream.split(".", 1)
    kinds = session.rows(_TABLE, *place)
    if not kinds:
        return [
            f"table {stream} is not in the database, or the user may not see it: correct tables= "
            f"(database.table), or run GRANT SELECT ON {quoted_table(stream)} TO {session.user()};"
        ]
    kind, engine = (str(each) for each in kinds[0])
    if kind == "SYSTEM VERSIONED":
        return [
            f"table {stream} is system-versioned: rows that are over would come as rows of their "
            "own. Take it out of tables="
        ]
    if kind != "BASE TABLE":
        return [f"{stream} is a {kind.lower()}: only tables have their changes in the log"]
    if engine.lower() not in _LOGGED:
        return [f"{stream} is of engine {engine}: it has no consistent snapshot, or no changes"]
    parts = session.rows(_KEY, *place)
    key = tuple(str(name) for name, _ in parts)
    described = list(_columns(session, stream))
    faults = [each for each in described if isinstance(each, str)]
    if not key:
        faults.append(
            f"table {stream} has no primary key: run "
            f"ALTER TABLE {quoted_table(stream)} ADD PRIMARY KEY (…);"
        )
    if faults:
        return faults
    columns = tuple(each for each in described if isinstance(each, Column))
    cascades = tuple(str(name) for _, _, name in session.rows(_CASCADES, *place))
    whole = all(part is None for _, part in parts)
    literals = _literals(columns, key) if whole else ()
    return Table(stream, columns, key, session.user(), cascades, literals)


def _literals(columns: Sequence[Column], key: Sequence[str]) -> tuple[Literal, ...]:
    named = {column.name: column for column in columns}
    found = [literal(named[name].type, named[name].charset) for name in key]
    known = tuple(each for each in found if each is not None)
    return known if len(known) == len(key) else ()


def estimate(session: Session, stream: str) -> int | None:
    """About how many rows a table has, if the server knows."""
    found = session.rows(_ROWS, *stream.split(".", 1))
    return int(found[0][0]) if found and found[0][0] is not None else None


_LOGGED = ("innodb", "rocksdb", "tokudb")
_IN_ANOTHER_FORM = re.compile("compressed|mariadb-5.3", re.IGNORECASE)
"""What MariaDB tells behind a type: it is compressed in the log, or of before MySQL 5.6."""


def _columns(session: Session, stream: str) -> Iterator[Column | str]:
    for name, type_, full, charset, collation in session.rows(_COLUMNS, *stream.split(".", 1)):
        convert = converter(str(type_).lower(), str(charset or BINARY))
        if type_ not in ("enum", "set") and _IN_ANOTHER_FORM.search(str(full)):
            convert = None
        if convert is None:
            what = f"{full} in {charset}" if charset else str(full)
            yield (
                f"table {stream}: column {name} ({what}) cannot be read: give it another type, or "
                "take the table out of tables="
            )
        else:
            text = str(charset or BINARY), str(collation or "")
            yield Column(str(name), str(type_).lower(), convert, *text)
