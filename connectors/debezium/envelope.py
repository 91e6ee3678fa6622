"""What a message of Debezium's says: a change of a row or document, or something about changes.

Debezium's documentation, "Data change events" of each connector, "Transaction metadata", "Schema
change topic"; and the flat rows that its transformation ExtractNewRecordState makes of changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from trunkline.connectors.debezium import mongodb
from trunkline.connectors.debezium.placeholders import Placeholder
from trunkline.connectors.kafka.source import Interpreted
from trunkline.errors import DataError
from trunkline.event import Change

CHANGES: Mapping[str, Change] = {
    "c": "create",
    "u": "update",
    "d": "delete",
    "r": "snapshot",
    "t": "truncate",
}
_MESSAGE = "m"


@dataclass(frozen=True)
class EnvelopeReader:
    """Tells what messages say.

    ``documents``: whether rows are MongoDB's documents. ``placeholder``: what stands for values
    that Debezium has not got, and ``unchanged`` what becomes of them. ``metadata``: a field of the
    data for operation, source and transaction; "" for none.
    """

    documents: bool
    placeholder: Placeholder
    unchanged: object
    metadata: str

    def read(
        self, payload: Any, key: Any, text: str, convert: Callable[[Any, Any], Any]
    ) -> Interpreted:
        """What a value says, not converted yet, whose key has these fields and this text.

        ``convert``: of a payload, and the row in it if there is one, the payload with its values
        converted. Raises DataError for what is nothing of Debezium's.
        """
        if not isinstance(payload, dict):
            raise DataError(
                f"a message of Debezium's is a table of fields, not {type(payload).__name__}"
            )
        op = payload.get("op")
        if op is None or "source" not in payload:
            return self._about_changes(payload, text, convert)
        if op == _MESSAGE:
            payload = convert(payload, None)
            return self._with_metadata(payload, Interpreted(text, _message(payload)))
        if not isinstance(op, str) or op not in CHANGES:
            raise DataError(f"Debezium's operation {str(op)[:20]!r} is none that is known")
        change = CHANGES[op]
        name, other = ("before", "after") if op == "d" else ("after", "before")
        row = payload.get(name)
        marked = self.placeholder.take(row)
        self.placeholder.take(payload.get(other))  # it is converted, too, and could not be
        payload = convert(payload, row)
        row = payload.get(name)
        if change == "truncate":
            return self._with_metadata(payload, Interpreted("", {}, change))
        if _is_mongodb(payload) and not self.documents:
            raise DataError("this is of Debezium's MongoDB connector: give mongodb=True")
        data = self._data(op, row, key)
        data.update(dict.fromkeys(marked, self.unchanged))
        return self._with_metadata(payload, Interpreted(text, data, change))

    def _data(self, op: str, row: Any, key: Any) -> dict[str, Any]:
        of_key = dict(key) if isinstance(key, Mapping) else {}
        if row is None:
            if op == "d":  # of MongoDB, or a table without the row as it was
                return of_key
            how = "set capture.mode to change_streams_update_full" if self.documents else ""
            raise DataError(f"the change has no row behind it{': ' if how else ''}{how}")
        if self.documents:
            return mongodb.document(row)
        if not isinstance(row, dict):
            raise DataError(f"a row is a table of columns, not {type(row).__name__}")
        # Before a delete there may be nulls, or a type's zero, in all columns but the key's.
        return {**row, **of_key} if op == "d" else row

    def _about_changes(
        self, payload: dict[str, Any], text: str, convert: Callable[[Any, Any], Any]
    ) -> Interpreted:
        """A transaction's beginning or end, a change of the schema, or a flat row."""
        if "__op" in payload or "__deleted" in payload:
            return self._flat(payload, text, convert)
        is_transaction = payload.get("status") in ("BEGIN", "END") and "id" in payload
        if is_transaction or "tableChanges" in payload or "ddl" in payload:
            payload = convert(payload, None)
            return Interpreted(text, payload, time=_time(payload))
        raise DataError(
            f"the message is no envelope of Debezium's: its fields are {', '.join(payload)[:200]}; "
            "read other topics with KafkaSource"
        )

    def _flat(
        self, row: dict[str, Any], text: str, convert: Callable[[Any, Any], Any]
    ) -> Interpreted:
        marked = self.placeholder.take(row)
        row = convert(row, row)
        op, deleted = row.pop("__op", None), str(row.pop("__deleted", "false")).lower() == "true"
        change: Change = "delete" if deleted else CHANGES.get(str(op or "c"), "update")
        at = row.get("__source_ts_ms", row.get("__ts_ms"))
        row.update(dict.fromkeys(marked, self.unchanged))
        return Interpreted(text, row, change, _time({"ts_ms": at}))

    def _with_metadata(self, payload: dict[str, Any], found: Interpreted) -> Interpreted:
        source = payload.get("source")
        found.time = _time(source) or _time(payload)
        if self.metadata:
            names = ("op", "source", "transaction", "ts_ms")
            found.data[self.metadata] = {name: payload.get(name) for name in names}
        return found


def with_payload(value: Any) -> tuple[Any, Any]:
    """Schema and payload of a value as JsonConverter writes it; None, and the value itself, where
    it was told to send no schemas along."""
    if isinstance(value, dict) and set(value) == {"schema", "payload"}:
        return value["schema"], value["payload"]
    return None, value


def _message(payload: Mapping[str, Any]) -> dict[str, Any]:
    content = payload.get("message")
    if not isinstance(content, Mapping):
        raise DataError("a logical message has no message")
    return dict(content)


def _is_mongodb(payload: Mapping[str, Any]) -> bool:
    source = payload.get("source")
    return isinstance(source, Mapping) and source.get("connector") == "mongodb"


def _time(table: Any) -> datetime | None:
    """When it happened, as ``ts_us`` or ``ts_ms`` of a table say, if they say something."""
    if not isinstance(table, Mapping):
        return None
    for name, unit in (("ts_us", 1_000_000), ("ts_ms", 1_000)):
        at = table.get(name)
        if isinstance(at, int) and at > 0:
            try:
                seconds, rest = divmod(at * (1_000_000 // unit), 1_000_000)
                return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
            except (ValueError, OverflowError, OSError):
                return None
    return None
