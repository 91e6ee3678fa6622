"""The events of a binary log as records, and where a reader of them stands.

The log has whole transactions, in the order of their commits: a GTID, table maps and rows, a
commit. A position is the end of a transaction, with the number of events with rows of the next one
that are given out: in the middle of a transaction no server can begin, and MariaDB would begin
behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from struct import error as StructError
from typing import Any

from trunkline.connectors.mysql import events, payload, tablemap
from trunkline.connectors.mysql.events import Header, Transaction
from trunkline.connectors.mysql.names import BEGIN_ANEW
from trunkline.connectors.mysql.places import Place, made_anew
from trunkline.connectors.mysql.statements import Statement, read
from trunkline.connectors.mysql.tablemap import Shape
from trunkline.connectors.mysql.tables import Tables
from trunkline.errors import ConfigurationError, SourceError
from trunkline.event import Change, Record

_MOST_SHAPES = 1000
_EPOCH = datetime.fromtimestamp(0, UTC)
_NONE = Transaction("")
_END_OF_STATEMENT = 1
_NO_TABLE = 0xFFFFFF
"""The table id of a row event without rows, which ends a statement."""


class Decoder:
    """Takes events in, gives records out, and knows where it stands.

    ``tables``: which are wanted. ``collations``: the character set of each. ``place``: where the
    reader stands. ``gtids``: the last GTID of each of MariaDB's domains, up to there; ``written``:
    the last number of each domain and server, as ``{"0-1": 7}``. ``prepared``:
    the XA transactions that were prepared since the begin, and are neither committed nor rolled
    back; None if nobody has written that down. ``end``: ``reached`` is True once it stands there,
    which is the end of a transaction.

    When ``feed`` raises, everything before that event is in ``records``, and the decoder stands
    before it.
    """

    def __init__(
        self,
        tables: Tables,
        collations: Mapping[int, str],
        place: Place,
        gtids: Mapping[str, str] = {},
        written: Mapping[str, int] = {},
        prepared: Collection[str] | None = None,
        end: Place | None = None,
    ) -> None:
        self.records: list[Record] = []
        self.reached = end is not None and place.order >= end.order
        self._goes_to = end
        self.gtids = dict(gtids)
        self.written = dict(written)
        self.prepared = None if prepared is None else set(prepared)
        self.tables = tables
        self._collations = collations
        self.size = 0
        """Bytes of the rows in ``records``, as they are when MariaDB has not compressed them."""
        self._file, self._at, self._made, self._done = place.file, place.at, 0, place.events
        self._expected = place.made
        self._skip = place.events  # of the transaction under way, that were given out before
        self._end, self._ends_in = place.at, (place.file, place.made)
        self._counted = 0  # events with rows of the transaction under way that were met
        self._ours = False  # whether one of them was of a wanted table
        self._open = False  # whether one is under way
        self._begun = False  # and whether a commit will follow
        self._xa = False
        self._transaction = _NONE
        self._mark = ""  # what the ids of its records begin with
        self._time = _EPOCH
        self._checked, self._maria = True, False
        self._shapes: dict[int, Shape | None] = {}
        self._maps: dict[bytes, Shape | None] = {}
        self._packed = deque[bytes]()  # what is left of a compressed transaction
        self._behind = 0  # where that one's event ends
        self._handlers: dict[int, Callable[[Header, bytes], None]] = {
            events.ROTATE: self._rotate,
            events.QUERY: self._query,
            events.QUERY_COMPRESSED: self._query,
            events.XID: self._commit,
            events.TABLE_MAP: self._table_map,
            events.GTID: self._begin,
            events.ANONYMOUS_GTID: self._begin,
            events.MARIA_GTID: self._begin,
            events.XA_PREPARE: self._xa_prepared,
            events.PAYLOAD: self._unpack,
            **dict.fromkeys(events.ROWS, self._rows),
            **dict.fromkeys(events.TELL_NOTHING, self._pass),
        }

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(self._ends_in[0], self._end, self._ends_in[1], self._done)

    @property
    def within(self) -> bool:
        """Whether a transaction is under way."""
        return self._open

    def take(self) -> list[Record]:
        """The records since the last call."""
        records, self.records, self.size = self.records, [], 0
        return records

    def feed(self, event: bytes) -> None:
        """Take one event in. When it is one that holds others, ``unpacking`` is True then, and
        ``feed_packed`` takes in one after the other.

        Raises ConfigurationError, with the place in the log, for what must not be passed over, and
        SourceError for an event that was damaged.
        """
        header = events.header_of(event)
        if header.type in (events.HEARTBEAT, events.HEARTBEAT_2):
            return
        if header.type == events.FORMAT:
            self._format(header, event)
            return
        checked = events.has_checksum(event) if header.type == events.ROTATE else self._checked
        self._handle(header, event, checked)
        if self._packed:
            return
        if not header.artificial and header.type != events.ROTATE:
            self._at = header.end or self._at + header.size
        if not self._open:
            self._settle()

    @property
    def unpacking(self) -> bool:
        """Whether events of a compressed transaction are left for ``feed_packed``."""
        return bool(self._packed)

    def feed_packed(self) -> int:
        """Take in the next event of a compressed transaction: how many bytes it has. Behind the
        last one it stands behind all of them. Raises as ``feed`` does."""
        event = self._packed[0]
        self._handle(events.header_of(event), event, False)
        self._packed.popleft()
        if not self._packed:
            self._at = self._behind
            if not self._open:
                self._settle()
        return len(event)

    def _handle(self, header: Header, event: bytes, checked: bool) -> None:
        before = len(self.records)
        try:
            body = events.body_of(event, checked)
            self._handlers.get(header.type, self._unknown)(header, body)
        except (ConfigurationError, SourceError) as error:
            del self.records[before:]
            raise type(error)(f"{error}\n(in the log at {self._shown})") from error
        except (LookupError, ValueError, StructError) as error:
            del self.records[before:]
            raise ConfigurationError(
                f"an event of type {header.type} cannot be read ({error}), in the log at "
                f"{self._shown}. {BEGIN_ANEW}"
            ) from error

    def _unpack(self, header: Header, body: bytes) -> None:
        self._packed = payload.events_of(body)
        self._behind = header.end or self._at + header.size

    @property
    def _shown(self) -> str:
        gtid = f", transaction {self._transaction.gtid}" if self._transaction.gtid else ""
        return f"{self._file}:{self._at}{gtid}"

    def _format(self, header: Header, event: bytes) -> None:
        """The first event of a file, which is sent also to whoever begins behind it."""
        if self._expected and header.time != self._expected:
            raise ConfigurationError(made_anew(self._file))
        self._expected = 0
        if self._open:
            raise ConfigurationError(
                f"the log ends in the middle of a transaction, and goes on in {self._file}: the "
                f"server has lost the rest of it in a crash (sync_binlog is not 1). {BEGIN_ANEW}"
            )
        form = events.format_of(event)
        self._checked, self._maria = form.checked, "mariadb" in form.server.lower()
        self._made = header.time
        if header.end > self._at:
            self._at = header.end
        self._settle()

    def _rotate(self, header: Header, body: bytes) -> None:
        """The next file. The one that is made for this connection tells which file is sent."""
        at, file = events.rotated(body)
        if file != self._file:
            self._file, self._at, self._made = file, at, 0

    def _begin(self, header: Header, body: bytes) -> None:
        if self._open:  # its end was none that we know: to go on counting would lose rows of this
            self._finish()
            self._settle()
        make = events.maria_gtid if header.type == events.MARIA_GTID else events.mysql_gtid
        self._transaction = make(header, body)
        self._open = True
        # MySQL writes a BEGIN behind it, MariaDB says here whether a COMMIT will follow.
        self._begun = header.type == events.MARIA_GTID and not self._transaction.alone
        self._xa = self._transaction.xa
        self._mark = self._transaction.gtid or f"{self._file}:{self._at}"
        self._time = datetime.fromtimestamp(header.time, UTC)
        self._counted, self._ours = 0, False

    def _commit(self, header: Header, body: bytes) -> None:
        del header, body
        self._finish()

    def _finish(self) -> None:
        self._open = self._begun = False
        self._done = self._skip = 0

    def _settle(self) -> None:
        """No transaction is under way: here a reader can begin."""
        writer, mark, number = self._transaction.gtid.rpartition("-")
        if mark and ":" not in number:  # MySQL's have a UUID and a colon
            self.gtids[writer.partition("-")[0]] = self._transaction.gtid
            self.written[writer] = int(number)
        self._transaction = _NONE
        self._end, self._ends_in = self._at, (self._file, self._made)
        if self._goes_to is not None:
            self.reached = self.place.order >= self._goes_to.order

    def _xa_prepared(self, header: Header, body: bytes) -> None:
        """The end of an XA transaction's rows. With a set first byte it is committed, too."""
        if self.prepared is not None and not body[0]:
            self.prepared.add(events.xid_of(body))
        self._commit(header, body)

    def _pass(self, header: Header, body: bytes) -> None:
        del header, body

    def _unknown(self, header: Header, body: bytes) -> None:
        del body
        name = events.NAMES.get(header.type, "unknown")
        mend = events.MENDS.get(header.type, "this version of the source cannot read it")
        raise ConfigurationError(
            f"the log has an event of type {header.type} ({name}), which must not be passed over: "
            f"{mend}. {BEGIN_ANEW}"
        )

    def _query(self, header: Header, body: bytes) -> None:
        query = events.query_of(body, header.type == events.QUERY_COMPRESSED)
        statement = read(query.text, query.database, query.ansi_quotes)
        match statement.kind:
            case "begin":
                self._begun = self._open = True
                return
            case "commit":
                self._finish()
            case "rollback":
                self._roll_back(statement)
                return
            case "xa" if statement.what in ("START", "BEGIN"):
                self._begun = self._open = self._xa = True
                return
            case "xa" if statement.what == "END":
                return
            case "xa":
                self._decided(statement)
            case _:
                streams = [] if self._transaction.undone else self.tables.judge(statement)
                if self._counts_anew():
                    for stream in streams:
                        self._add(f"{self._mark}-{self._counted}", stream, "", {}, "truncate")
                    self._done = self._counted
        if not self._begun:  # nothing follows: it is all of its transaction
            self._finish()

    def _decided(self, statement: Statement) -> None:
        """An XA transaction is over that was prepared before. If that was before the begin, its
        rows are in the log before it, and in no snapshot; and nobody knows which they were."""
        if self.prepared is None:
            return
        if statement.what == "COMMIT" and statement.xid not in self.prepared:
            raise ConfigurationError(
                f"XA transaction {statement.xid} is committed, and was prepared before the source "
                f"began: if it has changed these tables, no record tells it. {BEGIN_ANEW}"
            )
        self.prepared.discard(statement.xid)

    def _roll_back(self, statement: Statement) -> None:
        if self._ours:
            raise ConfigurationError(
                f"rows of a transaction were rolled back {statement.what} after they were written "
                f"into the log, as it has changed tables without transactions, too. {BEGIN_ANEW}"
            )
        if not statement.what:
            self._finish()

    def _table_map(self, header: Header, body: bytes) -> None:
        del header
        described = body[6:]
        if described not in self._maps:
            if len(self._maps) >= _MOST_SHAPES:
                self._maps.clear()
            self._maps[described] = self._shape(body)
        self._shapes[int.from_bytes(body[:6], "little")] = self._maps[described]

    def _shape(self, body: bytes) -> Shape | None:
        database, table, _ = tablemap.name_at(body)
        stream = self.tables.stream(database, table)
        if stream is None:
            return None
        return tablemap.shape_of(tablemap.parse(body, self._maria), self._collations, stream)

    def _rows(self, header: Header, body: bytes) -> None:
        kind, version, compressed = events.ROWS[header.type]
        table, flags, at = events.rows_at(body, version)
        if table not in self._shapes and table != _NO_TABLE:
            raise ValueError(f"rows of table {table} come without its table map")
        shape = self._shapes.get(table)
        if flags & _END_OF_STATEMENT:
            self._shapes = {}
        self._ours = self._ours or shape is not None
        if not self._counts_anew():
            return
        if shape is not None:
            self._give_out(shape, kind, compressed, body, at)
        self._done = self._counted

    def _counts_anew(self) -> bool:
        """One more event of the transaction is met: whether it was not given out before."""
        self._counted += 1
        return self._counted > self._skip

    def _give_out(self, shape: Shape, kind: str, compressed: bool, body: bytes, at: int) -> None:
        if self._xa:
            raise ConfigurationError(
                f"{shape.stream} was changed by an XA transaction, of which nobody knows here "
                f"whether it is committed. {BEGIN_ANEW}"
            )
        count, full, at = events.columns_at(body, at, 2 if kind == events.UPDATE else 1)
        if not full or count != shape.count:
            raise ConfigurationError(
                f"{shape.stream}: a row is in the log without all of its columns: run SET GLOBAL "
                f"binlog_row_image = 'FULL'; and have it left alone in sessions. {BEGIN_ANEW}"
            )
        if compressed:
            body, at = events.inflated(body[at:]), 0
        size = len(body) - at
        if kind == events.UPDATE:
            at = self._updates(shape, body, at)
        else:
            at = self._single(shape, body, at, "create" if kind == events.WRITE else "delete")
        if at != len(body):
            raise ValueError("its rows are longer than it")
        self.size += size

    def _single(self, shape: Shape, body: bytes, at: int, change: Change) -> int:
        end, row_at, key_of, stream = len(body), shape.row_at, shape.key, shape.stream
        mark, time, append = f"{self._mark}-{self._counted}", self._time, self.records.append
        number = 0
        while at < end:
            row, at = row_at(body, at)
            number += 1
            key = key_of(row)
            append(
                Record(
                    key=key,
                    data=row,
                    change=change,
                    stream=stream,
                    id=f"{mark}.{number}",
                    time=time,
                )
            )
        return at

    def _updates(self, shape: Shape, body: bytes, at: int) -> int:
        end, row_at, key_of, stream = len(body), shape.row_at, shape.key, shape.stream
        mark, number = f"{self._mark}-{self._counted}", 0
        while at < end:
            old, at = row_at(body, at)
            new, at = row_at(body, at)
            number += 1
            was, key, name = key_of(old), key_of(new), f"{mark}.{number}"
            if was == key:
                self._add(name, stream, key, new, "update")
            else:
                self._add(f"{name}.delete", stream, was, old, "delete")
                self._add(name, stream, key, new, "create")
        return at

    def _add(self, id_: str, stream: str, key: str, data: dict[str, Any], change: Change) -> None:
        self.records.append(
            Record(key=key, data=data, change=change, stream=stream, id=id_, time=self._time)
        )
