"""Bytes to JSON: exact numbers, no name twice, and where it is wrong."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import Any, NoReturn


class NotJson(ValueError):
    """Bytes that are no JSON. ``line`` and ``column`` count from 1; 0: there is no one place."""

    def __init__(self, reason: str, line: int = 0, column: int = 0) -> None:
        at = f" (line {line}, column {column})" if line else ""
        super().__init__(f"{reason}{at}")
        self.reason = reason
        self.line = line
        self.column = column


def parse(body: bytes) -> Any:
    """The JSON value (RFC 8259) of UTF-8 bytes. Raises NotJson.

    A number with a point or an exponent is a Decimal, so that none is rounded. Refused beyond the
    grammar: NaN and Infinity, a name that stands twice in an object, and what is nested too deep.
    """
    try:
        return _DECODER.decode(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        before = body[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise NotJson("it is not UTF-8", line, column) from None
    except json.JSONDecodeError as error:
        raise NotJson(error.msg, error.lineno, error.colno) from None
    except RecursionError:
        raise NotJson("it is nested too deep") from None
    except NotJson:
        raise
    except ValueError:  # Python refuses integers of more than 4,300 digits
        raise NotJson("a number has too many digits") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        # Readers disagree on which of the two counts, and what one of them checked another runs.
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise NotJson(f"an object has the name {twice[:100]!r} twice")
    return found


def _constant(text: str) -> NoReturn:
    raise NotJson(f"{text} is no JSON")


_DECODER = json.JSONDecoder(
    parse_float=Decimal, parse_constant=_constant, object_pairs_hook=_object
)
