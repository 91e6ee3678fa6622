"""Writes plain data as YAML, in the part of it that every reader takes alike: blocks, and texts in
double quotes as JSON has them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_PLAIN_KEY = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
"""What some reader takes for a boolean, or for nothing."""


def yaml_text(value: Any) -> str:
    """The YAML of dicts with text keys, lists, texts, numbers, booleans and None."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            plain = _PLAIN_KEY.fullmatch(key) and key.lower() not in _WORDS
            name = key if plain else _scalar(key)
            yield from _entry(f"{name}:", inner)
    elif isinstance(value, list) and value:
        for inner in value:
            lines = list(_lines(inner))
            yield f"- {lines[0]}"
            yield from (f"  {line}" for line in lines[1:])
    else:
        yield _scalar(value)


def _entry(head: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict | list) and value:
        yield head
        yield from (f"  {line}" for line in _lines(value))
    else:
        yield f"{head} {_scalar(value)}"


def _scalar(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    text = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    # JSON would write two surrogates, which YAML does not put together again.
    code = ord(character)
    return f"\\U{code:08x}" if code > 0xFFFF else f"\\u{code:04x}"
