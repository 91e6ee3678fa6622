"""SQL in messages, which somebody runs as it stands: names are quoted, literals escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trunkline.errors import ConfigurationError

ALL_OPERATIONS = "insert, update, delete, truncate"


class Fault(str):
    """What is wrong, for a person. ``mend``: the statement in it that mends it, or ""."""

    __slots__ = ("mend",)
    mend: str

    def __new__(cls, text: str, mend: str = "") -> Fault:
        """The text of a fault, with the statement that it names."""
        fault = super().__new__(cls, text)
        fault.mend = mend
        return fault


def mending(told: str, statement: str, then: str = "") -> Fault:
    """A fault that one statement mends: what is told, the statement, and what follows."""
    return Fault(f"{told} {statement}{then}", statement)


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
        f"To take a new snapshot, with a new slot in place of {slot}, run: trunkline source reset. "
        'To go on without what is missing, set snapshot="never" before'
    )


def refuse(faults: Iterable[str]) -> None:
    """Raises ConfigurationError that names all of ``faults``, unless there are none."""
    found: Sequence[str] = list(dict.fromkeys(faults))
    if found:
        raise ConfigurationError("\n".join(found))
