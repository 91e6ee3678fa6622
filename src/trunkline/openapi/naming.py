"""Python names for what documents name as they like."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

from trunkline.openapi.parameters import Parameter


def identifier(text: str) -> str:
    """A Python name that is like a text, and the same for a text that is one."""
    made = re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_") if not text.isidentifier() else text
    made = re.sub(r"[^A-Za-z0-9_]", "_", made)[:90]
    if not made or not (made[0].isalpha() or made[0] == "_"):
        made = f"op_{made}"
    return f"{made}_" if keyword.iskeyword(made) else made


def class_name(text: str) -> str:
    """A name of a class: ``get_order`` is ``GetOrder``."""
    parts = re.sub(r"[^A-Za-z0-9]+", " ", text).split()
    made = "".join(part[0].upper() + part[1:] for part in parts)[:90] or "Any"
    return made if made[0].isalpha() else f"T{made}"


def argument_names(parameters: Iterable[Parameter], body: str) -> dict[str, Parameter]:
    """Parameters by names that callers use: their own, or with their place in front where two would
    have the same, or one that of the body."""
    found: dict[str, Parameter] = {}
    for one in parameters:
        name = one.name if one.name not in (*found, body) else f"{one.where}_{one.name}"
        while name in found or name == body:
            name += "_"
        found[name] = one
    return found
