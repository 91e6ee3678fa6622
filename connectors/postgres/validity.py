"""What a position is valid for: one system, one publication, and tables by their OIDs.

A name says nothing: a publication that was dropped and made again has it, and so has a table that
was loaded beside the old one and renamed into its place. What was not recorded meanwhile is
missing from the log, and nobody could tell from the stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trunkline.connectors.postgres.catalog import Table, name_of
from trunkline.connectors.postgres.connection import Connection, translated
from trunkline.connectors.postgres.decoder import Wanted
from trunkline.connectors.postgres.publication import Publication
from trunkline.connectors.postgres.statements import begin_anew, refuse

_FORMER = 3
"""How many former names of a key's columns are kept."""


@dataclass(frozen=True, slots=True)
class Known:
    """A table as a position has it. ``keys``: the names of the key's columns, and what they were
    before; ``numbers``: the columns themselves where the log does not tell the key, which is with
    REPLICA IDENTITY FULL."""

    oid: int
    membership: int
    keys: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Validity:
    """What a position is valid for."""

    system: str
    publication: tuple[int, str]
    """Its OID and its version."""
    tables: Mapping[str, Known]

    def as_json(self) -> dict[str, Any]:
        """As a position holds it."""
        tables = {
            stream: [
                table.oid,
                table.membership,
                [list(key) for key in table.keys],
                list(table.numbers),
            ]
            for stream, table in self.tables.items()
        }
        return {"system": self.system, "publication": list(self.publication), "tables": tables}

    @classmethod
    def of_json(cls, stored: Mapping[str, Any]) -> Validity:
        """What ``as_json`` gave."""
        oid, version = stored["publication"]
        tables = {
            stream: Known(oid, membership, tuple(map(tuple, keys)), tuple(numbers))
            for stream, (oid, membership, keys, numbers) in stored["tables"].items()
        }
        return cls(stored["system"], (oid, version), tables)

    def after(self, before: Validity) -> Validity:
        """This one, with the names that the keys' columns had before: those which the log has."""
        tables = {}
        for stream, table in self.tables.items():
            former = before.by_oid(table.oid)
            keys = table.keys if former is None else (*table.keys, *former.keys)
            kept = tuple(dict.fromkeys(keys))[: 1 + _FORMER]
            tables[stream] = replace(table, keys=kept)
        return replace(self, tables=tables)

    def by_oid(self, oid: int) -> Known | None:
        """The table with this OID, whatever its name."""
        return next((table for table in self.tables.values() if table.oid == oid), None)

    def wanted(self) -> dict[int, Wanted]:
        """What the decoder is to know of each table."""
        return {table.oid: Wanted(stream, table.keys) for stream, table in self.tables.items()}


def present(connection: Connection, found: Publication, tables: Sequence[Table]) -> Validity:
    """What a position of now is valid for."""
    known = {
        table.stream: Known(
            table.oid, table.membership, (table.key,), table.key_numbers if table.full else ()
        )
        for table in tables
    }
    return Validity(_system(connection), (found.oid, found.version), known)


def _system(connection: Connection) -> str:
    with connection.cursor() as cursor, translated("asking which system this is"):
        cursor.execute("SELECT system_identifier::text FROM pg_control_system()")
        (system,) = cursor.fetchone() or ("",)
    return str(system)


def require_system(connection: Connection, stored: Validity, slot: str) -> None:
    """Raises ConfigurationError if the server is not the one that the position is of, nor a copy
    of it that has taken its place."""
    system = _system(connection)
    if stored.system != system:
        refuse(
            [
                f"the stored position is of the PostgreSQL system {stored.system}, and this is "
                f"{system}: another server, or one that was upgraded or set up again. "
                f"{begin_anew(slot)}"
            ]
        )


def require_same(stored: Validity, now: Validity, slot: str, publication: str) -> None:
    """Raises ConfigurationError that names every difference which loses changes, and what to do.

    A table that ``tables=`` has not named before, or does not name any more, is none.
    """
    differences = list(_differences(stored, now, publication))
    if differences:
        refuse([*differences, f"What changed meanwhile may be missing. {begin_anew(slot)}"])


def _differences(stored: Validity, now: Validity, publication: str) -> Iterator[str]:
    if stored.publication[0] != now.publication[0]:
        yield f"publication {publication} was dropped and made again since the stored position"
        return
    if stored.publication[1] != now.publication[1]:
        yield f"publication {publication} was altered (ALTER PUBLICATION) since the stored position"
    for stream, table in now.tables.items():
        before = stored.tables.get(stream)
        if before is not None and before.oid != table.oid:
            yield f"{stream} is another table than at the stored position: dropped and made again"
            continue
        before = stored.by_oid(table.oid)
        if before is None:
            continue
        if before.membership != table.membership:
            yield (
                f"{stream} was taken out of publication {publication} and put in again, or its "
                "column list or row filter was changed, since the stored position"
            )
        if before.numbers and table.numbers and before.numbers != table.numbers:
            yield (
                f"the primary key of {stream} has other columns than at the stored position, and "
                "with REPLICA IDENTITY FULL the log does not tell the key"
            )


def require_names(
    connection: Connection, stored: Validity, slot: str, streams: Sequence[str]
) -> None:
    """Raises ConfigurationError for tables of ``streams`` that were dropped, or have another name
    now."""
    faults = []
    for stream in streams:
        before = stored.tables.get(stream)
        if before is None:
            continue
        name = name_of(connection, before.oid)
        if not name:
            faults.append(
                f"table {stream} was dropped since the stored position. If there is one of this "
                f"name, it is another, whose rows and changes are missing. {begin_anew(slot)}"
            )
        elif name != stream:
            faults.append(
                f"table {stream} was renamed to {name}: name it so in tables= (and keep slot= as "
                "it is); no change is lost"
            )
    refuse(faults)
