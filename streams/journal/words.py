"""What a caller is told of a system's answer and of a failure."""

from __future__ import annotations

import re

import orjson

from trunkline.masking import without_secrets

MAX_WHY = 1_000
OUR_CREDENTIALS = (401, 403)
"""Statuses by which a system refuses us and not what the caller asked for."""
_ADDRESS = re.compile(
    r"https?://[^/\s'\"]*|(?<=to host )\S+"
    # PostgreSQL's client, and MySQL's; both also say as whom we come, and MySQL's server from where
    r'|(?:(?<=server at )|(?<=host name )|(?<=on host ))"[^"\n]*"(?: \([^)\n]*\))?(?:, port \d+)?'
    r"|(?<=MySQL server on )\S+|(?<=for user )\S+"
)


def shown(why: str, destination: str) -> str:
    """A reason as a caller may read it: where the system is, is the operators' matter."""
    why = without_secrets(why.encode(errors="replace").decode())
    return _ADDRESS.sub(destination, why)[:MAX_WHY]


def json_text(body: bytes, most: int) -> tuple[str | None, str]:
    """An answer's body as JSON text, the very characters where it is JSON, so that no digit of a
    number is lost; and what is to be said of it."""
    if not body.strip():
        return None, ""
    if len(body) > most:
        return None, f"the answer of {len(body)} bytes was not kept: at most {most} are"
    try:
        orjson.loads(body)
        return body.decode(), ""
    except ValueError:
        return orjson.dumps(body.decode(errors="replace")).decode(), "the answer is no JSON"
