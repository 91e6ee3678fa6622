"""The statement of an operation on a database: what can be said of it without one."""

from __future__ import annotations

import re
from typing import Any

from trunkline.connectors.base import SQL_QUOTED
from trunkline.errors import ConfigurationError

READS = ("SELECT", "WITH", "VALUES", "TABLE")
"""What a statement begins with that may only read."""
CHANGES = ("INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "WITH", "SELECT")
"""What one begins with that may change rows, or call a function that does."""
MAX_SQL = 20_000
_WORD = re.compile(r"[\s(]*([A-Za-z]+)")


def parsed_statement(value: Any) -> str:
    """The statement, without a semicolon at its end. Raises ConfigurationError for what is none, or
    several: what follows a semicolon could end the transaction that guards the first one."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{value!r} is no statement, as 'SELECT … WHERE id = :id'")
    text = value.strip().removesuffix(";").rstrip()
    if len(text) > MAX_SQL:
        raise ConfigurationError(f"it has more than {MAX_SQL:,} characters")
    if ";" in SQL_QUOTED.sub("", text):
        raise ConfigurationError("it holds more than one statement: an operation is one")
    return text


def statement_problem(sql: str, *, reads: bool) -> str:
    """Why an operation cannot have this statement; "" if it can, or has none."""
    if not sql:
        return ""
    word = _WORD.match(SQL_QUOTED.sub(" ", sql))
    begins = word[1].upper() if word else ""
    if begins in (READS if reads else CHANGES):
        return ""
    if reads:
        return f"sql=: a query reads: it begins with {', '.join(READS)}"
    return f"sql=: it begins with {', '.join(CHANGES)}"
