"""The outbox table itself: the rows that wait, and removing or marking those that are published."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import bindparam, delete, func, update
from sqlalchemy import column as sql_column
from sqlalchemy import table as sql_table

from trunkline.connectors.sql.polling.records import data_of
from trunkline.connectors.sql.polling.table import PolledTable
from trunkline.connectors.sql.polling.values import from_position, plain, to_position

AT_ONCE = 500
"""Rows of one statement."""


class OutboxTable:
    """An outbox table. For one thread at a time; its methods block, and raise SourceError.

    ``id``: the column that names a row. ``mark``: the column that says when a row was published,
    "" where rows are deleted. ``order``: by which columns rows are read; () for the primary key.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        id: str,
        mark: str,
        order: Sequence[str],
        columns: Sequence[str] | None,
        timeout: float,
    ) -> None:
        self._id = id
        self._mark = mark
        self._order = list(order)
        self.polled = PolledTable(url, name, columns=columns, where="", timeout=timeout)
        if mark:
            self.polled.only_empty(mark)
        self._name = name

    def waiting(self, after: Sequence[Any] | None, limit: int) -> tuple[list[Any], Any, bool]:
        """Rows that wait, as dicts, behind the place ``after``; the place of the last one; and
        whether more may wait."""
        if after is None:
            self.polled.look()
        order = [*self._order, *(c for c in self._last() if c not in self._order)]
        page = self.polled.page(order, after, None, limit)
        width = len(order)
        rows = [data_of(self.polled.columns, row[width:]) for row in page.rows]
        place = [plain(value) for value in page.rows[-1][:width]] if page.rows else None
        return rows, place, page.full

    def published(self, ids: Iterable[str]) -> None:
        """Delete or mark these rows, of ids as ``stored_id`` gives them; those that are not there
        any more are done with."""
        values = [from_position(json.loads(each)) for each in ids]
        schema, _, name = self._name.rpartition(".")
        names: list[Any] = [sql_column(self._id), *([sql_column(self._mark)] if self._mark else [])]
        table = sql_table(name, *names, schema=schema or None)
        some = table.c[self._id].in_(bindparam("ids", expanding=True))
        statement: Any = delete(table).where(some)
        if self._mark:
            now = {self._mark: func.current_timestamp()}
            statement = update(table).where(some, table.c[self._mark].is_(None)).values(now)
        for at in range(0, len(values), AT_ONCE):
            with self.polled.connected() as connection:
                connection.execute(statement, {"ids": values[at : at + AT_ONCE]})
                connection.commit()

    @property
    def says_order(self) -> bool:
        """Whether the columns that rows are read by may be of what grows: no text, UUID, bytes."""
        return bool(self._order) or not all(self.polled.column(name).long for name in self._last())

    def stored_id(self, row: dict[str, Any]) -> str:
        """What a position has of a row's id."""
        return json.dumps(to_position(plain(row[self._id]), self._id))

    def close(self) -> None:
        """Release the connection."""
        self.polled.close()

    def _last(self) -> list[str]:
        """What tells rows apart that ``order`` does not."""
        return self.polled.primary_key or [self._id]
