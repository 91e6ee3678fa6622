"""Where a mistake in an expression stands in its ``.avsc``: JSON's readers keep no positions."""

from __future__ import annotations

import json
import re

_EXPRESSION = re.compile(r'"expr"\s*:\s*("(?:\\.|[^"\\])*")')
_CHARACTER = re.compile(r"\\u[dD][89abAB]..\\u....|\\u....|\\.|.", re.DOTALL)


def place_in_file(text: str, expression: str, at: int) -> tuple[int, int]:
    """The line and column, from 1 on, of the character ``at`` of the first such expression in a
    file's text; (1, 1) if it has none."""
    for match in _EXPRESSION.finditer(text):
        if json.loads(match[1]) == expression:
            inner = match.start(1) + 1
            for _ in range(at):
                if (character := _CHARACTER.match(text, inner)) is not None:
                    inner = character.end()
            return text.count("\n", 0, inner) + 1, inner - text.rfind("\n", 0, inner)
    return 1, 1
