"""The rules of a schema as a whole."""

from __future__ import annotations

from typing import Any

from trunkline.schemas.rules.check import Check, check_of
from trunkline.schemas.rules.declared import RULES, rules_of_records


def compiled_rules(schema_json: str, parsed: Any) -> Check | None:
    """The function that checks a schema's values; None for a schema without rules, at no cost.

    Raises ValueError with all that is wrong with the rules.
    """
    if RULES not in schema_json:
        return None
    rules, faults = rules_of_records(parsed)
    if faults:
        raise ValueError("; ".join(map(str, faults)))
    return check_of(parsed, rules)
