"""SQL in messages, which somebody runs as it stands: names are quoted, literals escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trunkline.errors import ConfigurationError

ALL_OPERATIONS = "insert, update, delete, truncate"


def quoted(*names: str) -> str:
    """An identifier, of schema and name for instance: ``"public"."orders"``."""
    return ".".join('"{}"'.format(name.replace('"', '""')) for name in names)


def quoted_table(stream: str) -> str:
    """The identifier of a table that ``schema.table`` names."""
    return quoted(*stream.split(".", 1))


def literal(text: str) -> str:
    """A text constant."""
    escaped = text.replace("'", "''")
    return f"E'{escaped}'".replace("\\", "\\\\") if "\\" in text else f"'{escaped}'"


def add_primary_key(stream: str) -> str:
    """What to run for a table whose rows nothing identifies."""
    table = quoted_table(stream)
    return (
        f"run ALTER TABLE {table} ADD PRIMARY KEY (…); or, if it has a unique index of columns "
        f"that are never NULL: ALTER TABLE {table} REPLICA IDENTITY USING INDEX …;"
    )


def begin_anew(slot: str) -> str:
    """How to go on where changes are lost, or would be."""
    return (
        f"To take a new snapshot, run SELECT pg_drop_replication_slot({literal(slot)}); and reset "
        "the source's position. To go on without what is missing, keep the slot, set "
        'snapshot="never" and reset the position'
    )


def refuse(faults: Iterable[str]) -> None:
    """Raises ConfigurationError that names all of ``faults``, unless there are none."""
    found: Sequence[str] = list(dict.fromkeys(faults))
    if found:
        raise ConfigurationError("\n".join(found))
