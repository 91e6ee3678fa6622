"""Whether values that one schema wrote can be read with another one, as Avro resolves them."""

from __future__ import annotations

from trunkline.schemas import avro
from trunkline.schemas.exact.read import Unresolvable, exact_reader


def unresolvable(written: str, reader: str) -> str:
    """Why values of the schema ``written`` cannot be read with the schema ``reader``; "" if they
    can, as far as the schemas tell. Both are JSON; raises what parsing raises."""
    try:
        exact_reader(avro.parse_written(written), avro.parse(reader))
    except Unresolvable as error:
        return str(error)
    return ""
