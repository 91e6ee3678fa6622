"""TOML as its reader should have told it: one kind of error for whatever is wrong with a text."""

from __future__ import annotations

import tomllib
from typing import Any


def tables_of(text: str) -> dict[str, Any]:
    """The tables of a TOML text. Raises ValueError, which says why it is none, for any text that
    cannot be read: also for a number of 5,000 digits and for lists 1,000 deep."""
    try:
        # Editors of Windows mark UTF-8 by a character that TOML has no place for.
        return tomllib.loads(text.removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
