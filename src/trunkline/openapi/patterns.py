"""Patterns of schemas: whether the validator has them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from trunkline.errors import MissingExtra

BACKTRACKS = 100_000
"""Steps of one match: a pattern that takes years for a text is refused for that text."""


def validator_of(schema: Any) -> Any:
    """What tells all that is wrong with a value; no message shows the value. Raises MissingExtra,
    and ValueError for a schema that is none."""
    try:
        import jsonschema_rs
    except ImportError as error:
        raise MissingExtra("operations of an OpenAPI document", "openapi") from error
    options = jsonschema_rs.FancyRegexOptions(backtrack_limit=BACKTRACKS)
    try:
        return jsonschema_rs.Draft202012Validator(schema, mask="it", pattern_options=options)
    except jsonschema_rs.ValidationError as error:
        raise ValueError(error.message) from None


@lru_cache(10_000)
def pattern_problem(pattern: str) -> str:
    """Why a pattern cannot be used, "" if it can."""
    try:
        validator_of({"pattern": pattern})
    except ValueError:
        return f"{pattern[:100]!r} is none"
    return ""
