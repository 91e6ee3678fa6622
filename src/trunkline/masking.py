"""Others' text, made fit for its place: masked for a cause, escaped for a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_MASKED = 300
"""Characters of a masked message that count. Behind them, messages often quote what was sent."""
MAX_VALUE_WORDS = 2
"""Words that a quoted value has at most. Quoted text of more is what an API says, as in the body
``{"error": "the customer is blocked"}``: it stays, since it tells causes apart."""

_UUID = re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b")
_CLOCK = r"\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"
_TIME = re.compile(rf"\b\d{{4}}-\d\d-\d\d(?:[T ]{_CLOCK})?")
_QUOTED = re.compile(
    r"""(?P<quoted>"[^"\n]*"|`[^`\n]*`|(?<!\w)'[^'\n]*'(?!\w))(?P<name>\s*:)?""",
)
_HEX = re.compile(r"\b(?:0x[0-9a-fA-F]+|(?=\d*[a-f])(?=[a-f]*\d)[0-9a-f]{16,})\b")
# "answered 422" is how the HTTP sink begins what a system says: another status, another cause.
_NUMBER = re.compile(r"(?<!answered )(?<!\d)\d+(?:[.,]\d+)*")


MIN_OWN = 3
"""Characters of an event's own value that is masked: a shorter one may stand in any sentence by
chance."""


def mask(message: str, own: Iterable[str] = ()) -> str:
    """The message without what differs from letter to letter. ``own``: the event's own values, as
    its key, which are masked whatever they look like: ``order A-17/b`` is ``order {key}``.

    An HTTP status stays, and so do the names in a JSON body.
    """
    for value in sorted(set(own), key=len, reverse=True):
        if len(value) >= MIN_OWN and value in message:
            message = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "{key}", message)
    message = _TIME.sub("<time>", _UUID.sub("<id>", message))
    message = _HEX.sub("<id>", _QUOTED.sub(_masked, message))
    return _NUMBER.sub("<n>", message)[:MAX_MASKED]


def _masked(match: re.Match[str]) -> str:
    quoted = match["quoted"]
    if match["name"] or len(quoted.split()) > MAX_VALUE_WORDS:
        return match[0]
    return f"{quoted[0]}…{quoted[-1]}"


def escaped(text: str, *, keep: str = "") -> str:
    """Text without what would move a terminal's cursor, change its colours or title, turn its
    direction, or begin a line of its own; ``keep``: what stays all the same.

    Keys, headers, messages and reasons come from others, and with them what an attacker wrote.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else _escape(c) for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
