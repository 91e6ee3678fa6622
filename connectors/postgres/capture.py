"""What is captured: publication and tables, as they are now and as the position has them."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

from trunkline.connectors.base import Position
from trunkline.connectors.postgres import catalog, partitions, publication, validity
from trunkline.connectors.postgres.catalog import Table
from trunkline.connectors.postgres.connection import (
    Connection,
    connect_or_stop,
    one_view,
    stoppable,
)
from trunkline.connectors.postgres.decoder import Wanted
from trunkline.connectors.postgres.partitions import Look, Partitions
from trunkline.connectors.postgres.validity import Validity
from trunkline.connectors.postgres.values import Types


class Capture:
    """The tables of one source, asked of the catalog whenever they may have changed.

    Each connection is its own, and ends with the question: an idle one would be one more that a
    server or a firewall may cut.
    """

    def __init__(
        self,
        dsn: str,
        slot: str,
        published: str,
        streams: Sequence[str],
        stop: threading.Event,
        *,
        json_as_text: bool,
        failover: bool = False,
    ) -> None:
        self.dsn = dsn
        self.slot = slot
        self.publication = published
        self.streams = streams
        self.failover = failover
        """Whether the slot is to be copied to standbys."""
        self._stop = stop
        self._json_as_text = json_as_text
        self._types = Types()
        self.validity: Validity | None = None
        """What the present position is valid for; None for one of an earlier version."""
        self.partitions: Partitions = {}
        """As they were when they were last told of."""
        self._look: Look | None = None

    def position(self, lsn: str, validity: Validity | None) -> Position:
        """The position of everything before ``lsn``."""
        position: Position = {"phase": "stream", "slot": self.slot, "lsn": lsn}
        if validity is not None:
            position["of"] = validity.as_json()
        if self.partitions:
            position["parts"] = partitions.as_json(self.partitions)
        return position

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """A connection whose statements ``stop`` cancels, however long a lock keeps them."""
        with (
            closing(connect_or_stop(self.dsn, self._stop)) as connection,
            stoppable(connection, self._stop),
        ):
            yield connection

    def now(self, connection: Connection) -> tuple[list[Table], Validity]:
        """The tables as they are published now, and what a position of now is valid for."""
        with one_view(connection):
            found, tables = publication.published(connection, self.publication, self.streams)
            return tables, validity.present(connection, found, tables)

    def publish_added(self, connection: Connection, stored: Mapping[str, Any] | None) -> list[str]:
        """The tables that are none of ``stored``'s, by name or by OID. They are published, if they
        are not: nobody has waited for their changes before. Raises ConfigurationError."""
        if stored is None:
            return []
        before = Validity.of_json(stored)
        unknown = [stream for stream in self.streams if stream not in before.tables]
        found, _ = catalog.described(connection, unknown)
        added = [table.stream for table in found if before.by_oid(table.oid) is None]
        if added:
            publication.publish(connection, self.publication, added)
        return added

    def resume(
        self,
        connection: Connection,
        stored: Mapping[str, Any] | None,
        parts: Mapping[str, Any],
    ) -> None:
        """Go on from a position that is valid for ``stored``. ``parts``: its parts, with the
        partitions that it knows. Raises ConfigurationError if that is
        another system, publication or table than the present one."""
        self.validity = Validity.of_json(stored) if stored is not None else None
        self.partitions = partitions.of_json(parts)
        self._compare(connection)
        self._types = self.types(connection)

    def ask(self) -> dict[int, Wanted]:
        """The tables by their OIDs, as they are now. Raises ConfigurationError if something was
        altered so that changes are missing, or would be."""
        with self.connected() as connection:
            return self._compare(connection)

    @property
    def looked(self) -> bool:
        """Whether partitions have changed, of which is not told yet."""
        return self._look is not None

    def partitions_changed(self, end: int) -> Look | None:
        """What of the partitions is another than was told last, once the stream, which stands at
        ``end``, has come to where that was seen. From then on the position knows it."""
        look = self._look
        if look is None or end < look.lsn:
            return None
        self._look, self.partitions = None, look.now
        return look

    def know_partitions(self, connection: Connection, tables: Sequence[Table]) -> None:
        """The partitions of now are those that are known."""
        self.partitions = partitions.present(connection, _roots(tables))

    def _compare_partitions(self, connection: Connection, tables: Sequence[Table]) -> None:
        if self._look is not None:
            return
        look = partitions.look(connection, _roots(tables), self.partitions)
        if look.lost or look.arrived:
            self._look = look
        else:
            self.partitions = look.now

    def _compare(self, connection: Connection) -> dict[int, Wanted]:
        before = self.validity
        if before is not None:
            validity.require_system(connection, before, self.slot)
            validity.require_names(connection, before, self.slot, self.streams)
        tables, now = self.now(connection)
        if before is not None:
            validity.require_same(before, now, self.slot, self.publication)
            now = now.after(before)
        self.validity = now
        self._compare_partitions(connection, tables)
        return now.wanted()

    @property
    def wanted(self) -> dict[int, Wanted]:
        """The tables by their OIDs, as they were when they were last asked for."""
        return self.validity.wanted() if self.validity is not None else {}

    def types_of(self, oids: Collection[int]) -> Types:
        """The database's types, read again where one of ``oids`` was made since the last time."""
        if not self._types.known.issuperset(oids):
            with self.connected() as connection:
                self._types = self.types(connection)
        return self._types

    def types(self, connection: Connection) -> Types:
        """The database's types, as this source reads them."""
        return replace(catalog.load_types(connection), json_as_text=self._json_as_text)


def _roots(tables: Sequence[Table]) -> dict[str, int]:
    return {table.stream: table.oid for table in tables if table.partitioned}
