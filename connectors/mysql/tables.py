"""The tables that are wanted, by the names that they have in the log, and what becomes of those.

The log has names only, and a name may be another table's later: renamed, dropped, swapped. So each
statement that defines tables is looked at, in its place between the rows.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence

from trunkline.connectors.mysql.names import BEGIN_ANEW
from trunkline.connectors.mysql.statements import Name, Statement
from trunkline.errors import ConfigurationError

log = logging.getLogger(__name__)


class Tables:
    """What is wanted, and what a position is valid for.

    ``streams``: ``database.table`` of ``tables=``. ``known``: those of the stored position.
    ``there``: which of the known ones are in the database. ``fold``: whether the server compares
    names without their case. ``swaps``: whether a table that is renamed into the place of one of
    ours is taken for the same, as tools for schema changes make it.
    """

    def __init__(
        self,
        streams: Sequence[str],
        known: Collection[str] = (),
        *,
        there: Collection[str] = (),
        fold: bool = False,
        swaps: bool = False,
    ) -> None:
        self._fold = fold
        self._swaps = swaps
        self._streams = {self._key(_split(stream)): stream for stream in streams}
        before = {self._key(_split(stream)): stream for stream in known}
        present = {self._key(_split(stream)) for stream in there}
        self._gone = {key: before[key] for key in before if key not in self._streams}
        for key in present & self._gone.keys():
            del self._gone[key]  # taken out of tables= on purpose

    @property
    def known(self) -> list[str]:
        """What a position of now is valid for."""
        return sorted({*self._streams.values(), *self._gone.values()})

    def stream(self, database: str, table: str) -> str | None:
        """The stream of a table of the log; None if it is not wanted.

        Raises ConfigurationError for one that the position knows, that was renamed or dropped
        since, and that ``tables=`` names no more.
        """
        key = self._key((database, table))
        if key in self._gone:
            raise ConfigurationError(
                f"changes of table {self._gone[key]} are still to come, and it is not in the "
                "database any more: name it so in tables= until the source stops where it was "
                "renamed or dropped"
            )
        return self._streams.get(key)

    def judge(self, statement: Statement) -> list[str]:
        """The streams whose rows the statement removed; [] for all that concerns nobody.

        Raises ConfigurationError for what takes a wanted table away, or changes its rows without
        telling them.
        """
        match statement.kind:
            case "truncate":
                return list(self._ours(statement.tables))
            case "drop":
                self._drop(statement)
            case "rename":
                self._rename(statement.tables)
            case "alter":
                self._alter(statement)
            case "key":
                self._change_key(statement)
            case "rows":
                self._change(statement.tables)
            case _:
                pass
        return []

    def _key(self, name: Name) -> Name:
        return (name[0].lower(), name[1].lower()) if self._fold else name

    def _ours(self, names: Iterable[Name]) -> Iterable[str]:
        keys = [self._key(name) for name in names]
        return [self._streams[key] for key in keys if key in self._streams]

    def _drop(self, statement: Statement) -> None:
        for name in map(self._key, statement.tables):
            for key, stream in self._streams.items():
                if key == name or (not name[1] and key[0] == name[0]):
                    raise ConfigurationError(
                        f"table {stream}: {statement.what}. Take it out of tables=, or, if there "
                        f"is another table of this name now: {BEGIN_ANEW}"
                    )
            for key in [key for key in self._gone if name in (key, (key[0], ""))]:
                del self._gone[key]

    def _rename(self, tables: Sequence[Name]) -> None:
        """A statement may rename several tables, one after the other, also in a circle."""
        was: dict[Name, Name] = {}
        for old, new in zip(map(self._key, tables[::2]), map(self._key, tables[1::2]), strict=True):
            was[new] = was.pop(old, old)
        for new, old in was.items():
            ours = self._streams.get(old) or self._gone.get(old)
            if ours and new in self._streams and new != old:
                self._gone.pop(old, None)
            elif new in self._streams and new != old and not self._swaps:
                raise ConfigurationError(
                    f"table {'.'.join(old)} was renamed to {self._streams[new]}, and has taken the "
                    "place of the table that had this name. If it had the same rows, as tools for "
                    'schema changes see to it, set swapped="follow". Otherwise: ' + BEGIN_ANEW
                )
        self._require_named(was)

    def _require_named(self, was: dict[Name, Name]) -> None:
        for new, old in was.items():
            stream = self._streams.get(old)
            if stream and new not in self._streams and old not in was:
                raise ConfigurationError(
                    f"table {stream} was renamed to {'.'.join(new)}: name it so in tables=; no "
                    "change is lost"
                )

    def _alter(self, statement: Statement) -> None:
        for stream in self._ours(statement.tables):
            if statement.what.startswith(("DROP ", "TRUNCATE ")):
                log.warning(
                    "table %s: %s removed rows, of which no record tells", stream, statement.what
                )
                continue
            raise ConfigurationError(
                f"table {stream}: {statement.what} has changed which rows it has, and the log does "
                f"not tell them. {BEGIN_ANEW}"
            )

    def _change_key(self, statement: Statement) -> None:
        for stream in self._ours(statement.tables):
            raise ConfigurationError(
                f"table {stream} was given another primary key: the keys of all of its rows are "
                f"others now, which only a new snapshot tells. {BEGIN_ANEW}"
            )

    def _change(self, names: Sequence[Name]) -> None:
        databases = {key[0] for key in self._streams}
        if names and all(self._key(name)[0] not in databases for name in names):
            log.warning(
                "a statement changed rows of %s, and is in the log as a statement, not as rows",
                ", ".join(map(".".join, names)),
            )
            return
        raise ConfigurationError(
            "rows were changed by a statement that is in the log as a statement, not as rows: "
            "somebody has set binlog_format in a session. Run SET GLOBAL binlog_format = 'ROW'; "
            f"and have it left alone. {BEGIN_ANEW}"
        )


def _split(stream: str) -> Name:
    database, table = stream.split(".", 1)
    return database, table
