"""Names of tables in SQL that somebody runs as it stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trunkline.errors import ConfigurationError

BEGIN_ANEW = (
    "To take a new snapshot, run: trunkline source reset. To go on without what is missing, set "
    'snapshot="never" before'
)
"""How to go on where changes are lost, or would be."""


def quoted(*names: str) -> str:
    """An identifier, of database and table for instance: ```shop`.`orders```."""
    return ".".join("`{}`".format(name.replace("`", "``")) for name in names)


def quoted_table(stream: str) -> str:
    """The identifier of a table that ``database.table`` names."""
    return quoted(*stream.split(".", 1))


def refuse(faults: Iterable[str]) -> None:
    """Raises ConfigurationError that names all of ``faults``, unless there are none."""
    found: Sequence[str] = list(dict.fromkeys(faults))
    if found:
        raise ConfigurationError("\n".join(found))
