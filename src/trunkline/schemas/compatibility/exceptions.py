"""What is let through on purpose: ``[[tool.trunkline.schemas.exceptions]]`` in ``pyproject.toml``.

[[tool.trunkline.schemas.exceptions]]
type = "commerce.Order"
rule = "forward"
reason = "the only old reader is the mart, which is loaded anew on Sunday"
until = 2026-12-31
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from trunkline.errors import ConfigurationError

TABLE = "tool.trunkline.schemas.exceptions"
RULES = ("backward", "forward")
_KEYS = ("type", "rule", "reason", "until")


@dataclass(frozen=True, slots=True)
class CompatibilityException:
    """Findings of one type by one rule are told and do not fail, up to the end of ``until``."""

    type: str
    rule: str
    reason: str
    until: date


def exceptions_of(entries: Any, where: str, today: date) -> list[CompatibilityException]:
    """From the entries of a file. ``where``: the file, for messages. Raises ConfigurationError for
    an entry that has no reason, or that is over: an exception is a debt, which somebody pays."""
    if not isinstance(entries, list):
        raise ConfigurationError(f"{where}: [[{TABLE}]] is a list of tables")
    return [
        _one(entry, f"{where}: {n}. of [[{TABLE}]]", today) for n, entry in enumerate(entries, 1)
    ]


def _one(entry: Any, where: str, today: date) -> CompatibilityException:
    if not isinstance(entry, dict) or set(entry) != set(_KEYS):
        raise ConfigurationError(f"{where} has {', '.join(_KEYS)}, all of them and no others")
    name, rule, reason, until = (entry[key] for key in _KEYS)
    if not isinstance(name, str) or "." not in name:
        raise ConfigurationError(f"{where}: type is a full name, as commerce.Order")
    if rule not in RULES:
        raise ConfigurationError(f"{where}: rule is {' or '.join(RULES)}")
    if not isinstance(reason, str) or not reason.strip():
        raise ConfigurationError(f"{where}: reason says why this is right")
    if not isinstance(until, date) or isinstance(until, datetime):
        raise ConfigurationError(f"{where}: until is a date, as 2026-12-31, without quotes")
    if until < today:
        raise ConfigurationError(
            f"{where}: the exception of {name} ended on {until}: mend the schema, or give it a new "
            "date with a reason"
        )
    return CompatibilityException(name, rule, reason.strip(), until)
