"""What dead letters died of: the message of an error without what differs between letters.

Thousands of letters have a handful of causes. Two have the same one if stage, class and message
agree once numbers, ids, times and quoted values are left out of the message.
"""

from __future__ import annotations

import hashlib
import re

SHOWN = 300
"""Characters of a masked message that count: a cause is told by its beginning."""
WORDS = 2
"""Quoted text of more words is no value but says something, as the message in a JSON body."""

_UUID = re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b")
_CLOCK = r"\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"
_TIME = re.compile(rf"\b\d{{4}}-\d\d-\d\d(?:[T ]{_CLOCK})?")
_QUOTED = re.compile(
    r"""(?P<quoted>"[^"\n]*"|`[^`\n]*`|(?<!\w)'[^'\n]*'(?!\w))(?P<name>\s*:)?""",
)
_HEX = re.compile(r"\b(?:0x[0-9a-fA-F]+|(?=\d*[a-f])(?=[a-f]*\d)[0-9a-f]{16,})\b")
_NUMBER = re.compile(r"(?<!answered )(?<!\d)\d+(?:[.,]\d+)*")


def mask(message: str) -> str:
    """The message without what differs from letter to letter. An HTTP status stays, and so do the
    names in a JSON body."""
    message = _TIME.sub("<time>", _UUID.sub("<id>", message))
    message = _HEX.sub("<id>", _QUOTED.sub(_masked, message))
    return _NUMBER.sub("<n>", message)[:SHOWN]


def fingerprint(stage: str, error: str, message: str) -> str:
    """Eight hex digits that letters of one cause share, in every process and version."""
    text = "\n".join((stage, error, mask(message)))
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]


def _masked(match: re.Match[str]) -> str:
    quoted = match["quoted"]
    if match["name"] or len(quoted.split()) > WORDS:
        return match[0]
    return f"{quoted[0]}…{quoted[-1]}"
