"""The messages of the plugin pgoutput, protocol version 1, as records.

PostgreSQL documentation, "Logical Replication Message Formats". A transaction's messages come
when it has committed: Begin, then its changes (a Relation before the first change of a table, and
again after its columns changed), then Commit; transactions come in the order of their commits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import Any, Final, NamedTuple

from trunkline.connectors.postgres.statements import add_primary_key
from trunkline.connectors.postgres.values import UNCHANGED, Shape, Types
from trunkline.errors import ConfigurationError
from trunkline.event import Record

_INT16 = Struct(">H")
_INT32 = Struct(">I")
_LENGTH = Struct(">I").unpack_from
_BEGIN = Struct(">xQqI")  # commit LSN, commit time, transaction id
_COMMIT = Struct(">xxQQq")  # flags, commit LSN, end LSN, commit time
_ATTRIBUTE = Struct(">Ii")  # type, type modifier

_MESSAGE = Struct(">xBQ")  # flags, LSN; then the prefix, the content's length, the content

MARKS: Final = "trunkline"
"""The prefix of our own messages in the log."""
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_KEY_ONLY, _NEW, _NULL, _VALUE = b"KNnt"
_ALL = 1 << 62


def lsn_text(lsn: int) -> str:
    """An LSN as PostgreSQL writes it: ``0/16B3748``."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def lsn_number(text: str) -> int:
    """The number of an LSN that PostgreSQL wrote."""
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def row_at(payload: bytes, at: int) -> tuple[list[Any], int]:
    """The raw values of the TupleData at ``at``, and where it ends."""
    row: list[Any] = []
    append = row.append
    (count,) = _INT16.unpack_from(payload, at)
    at += 2
    for _ in range(count):
        kind = payload[at]
        if kind == _VALUE:
            start = at + 5
            at = start + _LENGTH(payload, at + 1)[0]
            append(payload[start:at])
        else:
            append(None if kind == _NULL else UNCHANGED)
            at += 1
    return row, at


class Wanted(NamedTuple):
    """A table whose changes are wanted. ``keys``: the names that its key's columns have, and had
    before: the log has those of its time."""

    stream: str
    keys: tuple[tuple[str, ...], ...]


class Decoder:
    """Takes messages in, gives records out, and knows where it stands.

    ``wanted``: the tables wanted, by OID: names are those of the log's time, and may be another
    table's now. Changes of other tables are passed over. ``ask``: gives ``wanted`` anew, from the
    catalog; raises if the source must not go on. ``types``: gives what there is to know of types
    with these oids. ``unchanged``: stands for a value that the server did not send. ``end``,
    ``commit``, ``index``: where an earlier decoder stood, as its attributes of these names had it.

    When ``feed`` raises, everything before that message is in ``records``, and the decoder stands
    behind it.

    A server sends whole transactions, from the last acknowledged one on. If a worker died after it
    had published 3,000 changes of 10,000, the next decoder gets all 10,000 again, and gives out
    those from 3,001 on, with the ids that they would have had.
    """

    def __init__(
        self,
        wanted: Mapping[int, Wanted],
        types: Callable[[Collection[int]], Types],
        *,
        ask: Callable[[], Mapping[int, Wanted]],
        unchanged: object = UNCHANGED,
        end: int = 0,
        commit: int = 0,
        index: int = 0,
    ) -> None:
        self.records: list[Record] = []
        self.end = end
        """The LSN before which every transaction is given out to its last change."""
        self.commit = 0
        """The commit LSN of the transaction under way, or 0."""
        self.index = 0
        """How many changes of the transaction under way are given out."""
        self.truncated: set[int] = set()
        """Transactions that have truncated wanted tables. Who has read them, clears them."""
        self._resume = {commit: index}
        self._skip = 0  # changes of the transaction under way that were given out before
        self._time = _EPOCH
        self._transaction = 0
        self._marks: list[tuple[int, str]] = []
        self._transactions: list[int] | None = None
        self._tables = wanted
        self._ask = ask
        self._types = types
        self._unchanged = unchanged
        self._shapes: dict[int, Shape | None] = {}
        self._relations: dict[int, bytes] = {}
        self._handlers: dict[int, Callable[[bytes], None]] = {
            ord("B"): self._begin,
            ord("C"): self._commit,
            ord("R"): self._relation,
            ord("I"): self._insert,
            ord("U"): self._update,
            ord("D"): self._delete,
            ord("T"): self._truncate,
            ord("M"): self._message,
        }

    def feed(self, payload: bytes) -> None:
        """Take one message in; Type and Origin tell nothing that records need."""
        handler = self._handlers.get(payload[0])
        if handler is not None:
            handler(payload)

    def reached(self, lsn: int) -> None:
        """The server has sent everything that was committed before ``lsn``."""
        if not self.commit:
            self.end = max(self.end, lsn)

    def take(self) -> list[Record]:
        """The records since the last call."""
        records, self.records = self.records, []
        return records

    def take_all(self) -> tuple[list[Record], list[tuple[int, str]], list[int]]:
        """The records since the last call; the marks among them, each with how many records stand
        before it; and the ids of the transactions, if they are followed."""
        marks, self._marks = self._marks, []
        transactions: list[int] = []
        if self._transactions:
            transactions, self._transactions = self._transactions, []
        return self.take(), marks, transactions

    def follow_transactions(self, wanted: bool) -> None:
        """Whether the ids of transactions are written down from now on."""
        self._transactions = [] if wanted else None

    def _begin(self, payload: bytes) -> None:
        commit, micros, transaction = _BEGIN.unpack_from(payload)
        self.commit, self.index, self._transaction = commit, 0, transaction
        if self._transactions is not None:
            self._transactions.append(transaction)
        self._time = _EPOCH + timedelta(microseconds=micros)
        # Whole transactions before ``end`` were given out: the server sends them again if
        # the worker died before it had acknowledged them.
        self._skip = _ALL if commit < self.end else self._resume.get(commit, 0)
        # They come in the order of their commits: what was committed before this one is here. The
        # driver confirms up to any keepalive before this message, so no less must be stored.
        self.end = max(self.end, commit)

    def _commit(self, payload: bytes) -> None:
        _, end, _ = _COMMIT.unpack_from(payload)
        self.end = max(self.end, end)
        self.commit = self.index = 0

    def _relation(self, payload: bytes) -> None:
        oid, name, identity, columns, flagged = parse_relation(payload)
        if self._is_doubtful(oid, name, identity, payload):
            self._tables = self._ask()
        table = self._tables.get(oid)
        if table is None:
            self._shapes[oid] = None
            return
        key = flagged
        if identity == "f" or not flagged:
            names = {name for name, _ in columns}
            key = next((key for key in table.keys if names.issuperset(key)), ())
        if not key:
            raise ConfigurationError(_keyless(table, identity))
        types = self._types([type_ for _, type_ in columns])
        self._shapes[oid] = Shape(table.stream, columns, key, types)
        self._relations[oid] = payload

    def _is_doubtful(self, oid: int, name: str, identity: str, payload: bytes) -> bool:
        """Whether the catalog must be asked: the table was altered while we read, or has another
        name. With REPLICA IDENTITY FULL the message does not tell the key: it may be another one
        also if the message is the same."""
        table = self._tables.get(oid)
        if table is None:
            return False
        before = self._relations.get(oid)
        altered = before is not None and (before != payload or identity == "f")
        return altered or name != table.stream

    def _wanted(self, payload: bytes) -> Shape | None:
        """The shape of the change's table; None if the change is not to be given out."""
        self.index += 1
        if self.index <= self._skip:
            return None
        return self._shapes[_LENGTH(payload, 1)[0]]

    def _insert(self, payload: bytes) -> None:
        shape = self._wanted(payload)
        if shape is not None:
            row, _ = row_at(payload, 6)
            self._add(shape, shape.key(row), shape.data(row), "create")

    def _update(self, payload: bytes) -> None:
        shape = self._wanted(payload)
        if shape is None:
            return
        old, at = (None, 5) if payload[5] == _NEW else row_at(payload, 6)
        new, _ = row_at(payload, at + 1)
        if UNCHANGED in new:
            self._fill(new, old)
        key = shape.key(new)
        was = key if old is None else shape.key(old)
        if was == key:
            self._add(shape, key, shape.data(new), "update")
            return
        gone = shape.key_data(old or new) if payload[5] == _KEY_ONLY else shape.data(old or new)
        self._add(shape, was, gone, "delete", ".delete")
        self._add(shape, key, shape.data(new), "create")

    def _fill(self, new: list[Any], old: list[Any] | None) -> None:
        """Fills in the values that the server did not send as they did not change: from the old
        row, else with the placeholder.

        A NULL in the old row stands for nothing known: unless REPLICA IDENTITY is FULL, PostgreSQL
        sends the old row's key columns only, and NULL for all others.
        """
        for at, value in enumerate(new):
            if value is UNCHANGED:
                known = None if old is None else old[at]
                new[at] = self._unchanged if known is None else known

    def _delete(self, payload: bytes) -> None:
        shape = self._wanted(payload)
        if shape is not None:
            row, _ = row_at(payload, 6)
            data = shape.key_data(row) if payload[5] == _KEY_ONLY else shape.data(row)
            self._add(shape, shape.key(row), data, "delete")

    def _truncate(self, payload: bytes) -> None:
        self.index += 1
        (count,) = _INT32.unpack_from(payload, 1)
        for number in range(count):
            shape = self._shapes[_LENGTH(payload, 6 + 4 * number)[0]]
            if shape is not None:
                self.truncated.add(self._transaction)
                if self.index > self._skip:
                    self._add(shape, "", {}, "truncate", f".{number}")

    def _message(self, payload: bytes) -> None:
        """Note our own marks; the messages of others are none of ours."""
        prefix, _, rest = payload[_MESSAGE.size :].partition(b"\0")
        if prefix == MARKS.encode():
            self._marks.append((len(self.records), rest[_INT32.size :].decode()))

    def _add(
        self, shape: Shape, key: str, data: dict[str, Any], change: Any, part: str = ""
    ) -> None:
        self.records.append(
            Record(
                key=key,
                data=data,
                change=change,
                stream=shape.stream,
                id=f"{self.commit:X}-{self.index}{part}",
                time=self._time,
            )
        )


def parse_relation(payload: bytes) -> tuple[int, str, str, list[tuple[str, int]], tuple[str, ...]]:
    """A Relation message: id, stream name, replica identity, columns with their types, and the
    columns flagged as the replica identity's."""
    (oid,) = _INT32.unpack_from(payload, 1)
    schema, name, rest = payload[5:].split(b"\0", 2)
    identity, (count,), at = chr(rest[0]), _INT16.unpack_from(rest, 1), 3
    columns: list[tuple[str, int]] = []
    flagged: list[str] = []
    for _ in range(count):
        end = rest.index(b"\0", at + 1)
        column = rest[at + 1 : end].decode()
        columns.append((column, _ATTRIBUTE.unpack_from(rest, end + 1)[0]))
        if rest[at] & 1:
            flagged.append(column)
        at = end + 1 + _ATTRIBUTE.size
    stream = f"{schema.decode() or 'pg_catalog'}.{name.decode()}"
    return oid, stream, identity, columns, tuple(flagged)


def _keyless(table: Wanted, identity: str) -> str:
    stream = table.stream
    if identity == "f":
        return (
            f"table {stream}: its key ({', '.join(table.keys[0])}) is not in the log of that time, "
            "as the key's columns were changed while changes were pending; with REPLICA IDENTITY "
            "FULL the log does not tell the key. To take a new snapshot: trunkline source reset"
        )
    return f"table {stream} has lost its primary key: {add_primary_key(stream)}"
