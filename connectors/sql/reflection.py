"""What the database says of a table: its columns, its unique indexes, and how its keys compare."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, inspect, text
from sqlalchemy.engine.interfaces import ReflectedColumn

from trunkline.connectors.sql.fit import family_of


@dataclass(frozen=True, slots=True)
class UniqueIndex:
    """A primary key, unique constraint or unique index.

    ``exact``: rows are one row to it if their values are equal, and only then: it looks at all of
    each value, with a collation that tells all texts apart, and at all rows at once.
    """

    columns: frozenset[str]
    exact: bool


class Reflected:
    """A table as it is there. Reads the catalog once; for one thread, one connection."""

    def __init__(self, connection: Connection, table: Table) -> None:
        self.dialect = connection.dialect.name
        self._connection = connection
        self._table = table
        self._name = connection.dialect.identifier_preparer.format_table(table)
        inspector = inspect(connection)
        where: Any = {"table_name": table.name, "schema": table.schema}
        self.exists = inspector.has_table(**where)
        found = inspector.get_columns(**where) if self.exists else []
        # MySQL's SHOW CREATE TABLE doubles a backtick in a name, and SQLAlchemy leaves it so.
        mysql = self.dialect == "mysql"
        names = [c["name"].replace("``", "`") if mysql else c["name"] for c in found]
        self.columns: dict[str, ReflectedColumn] = dict(zip(names, found, strict=True))

    def unfilled(self, written: Collection[str]) -> list[str]:
        """The NOT NULL columns that are not ``written`` and that nothing else fills."""
        has_default = self._with_default()
        return [
            name
            for name, column in self.columns.items()
            if not (name in written or column["nullable"] or name in has_default)
            and not (column.get("default") or column.get("computed") or column.get("identity"))
            and column.get("autoincrement") is not True
        ]

    def _with_default(self) -> set[str]:
        """Columns with a default of MySQL and MariaDB: SQLAlchemy sees none that is an expression
        or holds a quotation mark."""
        if self.dialect != "mysql":
            return set()
        query = text(
            "SELECT column_name FROM information_schema.columns WHERE table_name = :name "
            "AND table_schema = COALESCE(:schema, DATABASE()) AND column_default IS NOT NULL"
        )
        given = {"name": self._table.name, "schema": self._table.schema}
        return set(self._connection.execute(query, given).scalars())

    def unique_indexes(self) -> list[UniqueIndex]:
        """All unique indexes that an upsert may meet."""
        read = {"postgresql": self._of_postgres, "mysql": self._of_mysql, "sqlite": self._of_sqlite}
        return read[self.dialect]()

    def compares_exactly(self, column: str) -> bool:
        """Whether a text column tells ``a`` and ``A`` apart, ``e`` and ``é``, ``a`` and ``a `` ."""
        type_ = self.columns[column]["type"]
        if family_of(type_) != "text":
            return True
        if self.dialect == "mysql":
            return self._collation(column).endswith(("_bin", "binary"))
        # The database is asked itself: a collation's name tells little, and there are types of
        # their own (citext). The column's collation decides in a UNION.
        padded = str(type_).upper().startswith("CHAR")
        texts = ["a", "A", "e", "é", "e\u0301", "ss", "ß", *([] if padded else ["a "])]
        quoted = self._connection.dialect.identifier_preparer.quote(column)
        union = "".join(f" UNION SELECT '{word}'" for word in texts)
        query = f"SELECT count(*) FROM (SELECT {quoted} FROM {self._name} WHERE 1 = 0{union}) AS t"
        return self._connection.exec_driver_sql(query).scalar() == len(texts)

    def ignores_blanks(self, column: str) -> bool:
        """Whether ``a`` and ``a `` are one text: in CHAR, and in most collations of MySQL."""
        type_ = self.columns[column]["type"]
        if family_of(type_) != "text" or self.dialect == "sqlite":
            return False
        if str(type_).upper().startswith("CHAR"):
            return True
        name = self._collation(column) if self.dialect == "mysql" else "nopad"
        return not ("nopad" in name or "_0900_" in name or name == "binary")

    def _collation(self, column: str) -> str:
        query = text(
            "SELECT collation_name FROM information_schema.columns WHERE table_name = :name "
            "AND table_schema = COALESCE(:schema, DATABASE()) AND column_name = :column"
        )
        given = {"name": self._table.name, "schema": self._table.schema, "column": column}
        return str(self._connection.execute(query, given).scalar() or "binary")

    def _of_postgres(self) -> list[UniqueIndex]:
        # An upsert cannot rely on an index that is partial, on an expression, invalid (its
        # building failed), or checked at the end of the transaction only.
        query = text(
            "SELECT i.indexrelid, a.attname, i.indimmediate AND i.indisvalid AND i.indpred IS NULL "
            "AND i.indexprs IS NULL AND coalesce(c.collisdeterministic, true) AS exact "
            "FROM pg_index i "
            "CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indcollation::oid[]) "
            "WITH ORDINALITY AS k(attnum, coll, n) "
            "LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum "
            "LEFT JOIN pg_collation c ON c.oid = k.coll "
            "WHERE i.indrelid = to_regclass(:name) AND i.indisunique AND k.n <= i.indnkeyatts"
        )
        return _grouped(
            [tuple(row) for row in self._connection.execute(query, {"name": self._name})]
        )

    def _of_mysql(self) -> list[UniqueIndex]:
        # A prefix, UNIQUE (name(3)), takes "abcd" for "abce".
        query = text(
            "SELECT index_name, column_name, sub_part IS NULL FROM information_schema.statistics "
            "WHERE table_name = :name AND table_schema = COALESCE(:schema, DATABASE()) "
            "AND non_unique = 0"
        )
        given = {"name": self._table.name, "schema": self._table.schema}
        return _grouped([tuple(row) for row in self._connection.execute(query, given)])

    def _of_sqlite(self) -> list[UniqueIndex]:
        where: Any = {"table_name": self._table.name, "schema": self._table.schema}
        key = inspect(self._connection).get_pk_constraint(**where)["constrained_columns"]
        found: list[tuple[Any, ...]] = []
        for index in self._pragma("index_list", self._table.name):
            if index.unique:
                columns = self._pragma("index_xinfo", index.name)
                exact = [not index.partial and c.coll == "BINARY" for c in columns]
                found += [
                    (index.name, c.name, e) for c, e in zip(columns, exact, strict=True) if c.key
                ]
        indexes = _grouped(found)
        alone = len(key) == 1 and not any(i.columns == {*key} for i in indexes)
        return [*indexes, UniqueIndex(frozenset(key), True)] if alone else indexes  # a rowid

    def _pragma(self, name: str, of: str) -> Sequence[Any]:
        quote = self._connection.dialect.identifier_preparer.quote
        schema = f"{quote(self._table.schema)}." if self._table.schema else ""
        return self._connection.exec_driver_sql(f"PRAGMA {schema}{name}({quote(of)})").all()


def _grouped(rows: Sequence[tuple[Any, ...]]) -> list[UniqueIndex]:
    """Index by index, of rows of index, column and whether it is exact there."""
    names: dict[Any, set[str]] = {}
    exact: dict[Any, bool] = {}
    for index, column, is_exact in rows:
        names.setdefault(index, set()).add(str(column))
        exact[index] = exact.get(index, True) and bool(is_exact) and column is not None
    return [UniqueIndex(frozenset(names[index]), exact[index]) for index in names]
