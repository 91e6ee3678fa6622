"""Patterns of ``matches()``: CEL's are those of RE2, which takes time in proportion to the text.

What is matched comes from others, and Python's own ``re`` takes years for ``(a+)+$`` and a text
that was made for it. But it takes a thirtieth of the time of RE2's binding (0.56 and 18 µs on a
busy machine), so a pattern in which it never has a choice is its: a row of characters and classes,
of which none that may come more or less often has a character of what may follow it, as
``^[A-Z]{2}-[0-9]+$``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from trunkline.errors import MissingExtra

Search = Callable[[str], object]
"""Something if a part of the text matches, None if none does."""

_ATOM = re.compile(
    r"(?P<class>\[\^?(?:\\[dw]|\\[^\w\s]|[^\[\]\\])+\])|(?P<escape>\\[dw]|\\[^\w\s])"
    r"|(?P<one>[^\\\[\](){}.*+?^$|\n])|(?P<dot>\.)"
)
_TIMES = re.compile(r"\?|\*|\+|\{(\d{1,3})(?:(,)(\d{0,3}))?\}")
_MEMBER = re.compile(r"\\(?P<escape>.)|(?P<first>.)-(?P<last>[^\\])|(?P<one>.)", re.DOTALL)
_OPERATORS = ("--", "&&", "||", "~~")
"""In a class Python warns that they may come to mean something."""
MOST_TRIED = 64
"""Characters that parts with a number may take from each character of a text on."""
_OTHERS = -1
"""Stands for all characters beyond ASCII."""
_DIGITS = frozenset(range(48, 58))
_WORD = _DIGITS | frozenset(range(65, 91)) | frozenset(range(97, 123)) | {95}
_ALL = frozenset(range(128)) | {_OTHERS}


class _Part(NamedTuple):
    """A character that may be one of these, so many times; ``most`` None: any number of times."""

    characters: frozenset[int]
    least: int
    most: int | None


def search_of(pattern: str) -> Search:
    """The function that looks for a pattern, as RE2 understands it, in a text. Raises ValueError
    for what is none, and MissingExtra where it needs RE2 and that is not installed."""
    parts, begins, ends = _row(pattern)
    if parts and _never_chooses(parts, begins):
        # \d and \w are ASCII to RE2, and $ is the end, and not before a last line break.
        plain = pattern[:-1] + r"\Z" if ends else pattern
        return re.compile(plain, re.ASCII).search
    try:
        import re2
    except ImportError:
        raise MissingExtra(f"matches({pattern!r}) in a rule", "rules") from None
    options = re2.Options()
    options.log_errors = False
    try:
        found: Search = re2.compile(pattern, options).search
    except re2.error as error:
        why = error.args[0] if error.args else error
        raise ValueError(why.decode(errors="replace") if isinstance(why, bytes) else why) from None
    return found


def _row(pattern: str) -> tuple[list[_Part], bool, bool]:
    """The parts of a pattern that is a row of them, [] for any other; whether it has ^ and $."""
    begins = pattern.startswith("^")
    ends = pattern.endswith("$") and not pattern.endswith(r"\$")
    at, end = int(begins), len(pattern) - ends
    parts: list[_Part] = []
    while at < end:
        atom = _ATOM.match(pattern, at, end)
        if atom is None:
            return [], begins, ends
        characters = _characters(atom)
        times = _TIMES.match(pattern, atom.end(), end)
        least, most = _bounds(times)
        if not characters or (most is not None and most < least):
            return [], begins, ends
        parts.append(_Part(characters, least, most))
        at = times.end() if times else atom.end()
    return parts, begins, ends


def _never_chooses(parts: list[_Part], begins: bool) -> bool:
    if not begins:  # it is looked for from each character on
        if any(part.most is None for part in parts):
            return False
        if sum(part.most or 0 for part in parts if part.most != 1) > MOST_TRIED:
            return False
    for index, part in enumerate(parts):
        if part.most == part.least:
            continue
        for follower in parts[index + 1 :]:
            if part.characters & follower.characters:
                return False
            if follower.least:
                break
    return True


def _bounds(times: re.Match[str] | None) -> tuple[int, int | None]:
    if times is None:
        return 1, 1
    simple: dict[str, tuple[int, int | None]] = {"?": (0, 1), "*": (0, None), "+": (1, None)}
    if times[0] in simple:
        return simple[times[0]]
    least = int(times[1])
    if times[2] is None:
        return least, least
    return least, int(times[3]) if times[3] else None


def _characters(atom: re.Match[str]) -> frozenset[int]:
    """The characters that an atom stands for; none for what is left to RE2."""
    text = atom[0]
    if atom["dot"]:
        return _ALL - {10}
    if not atom["class"]:
        return _escaped(text[1:]) if atom["escape"] else frozenset({_code(text)})
    negated = text.startswith("[^")
    inner = text[2 if negated else 1 : -1]
    if any(sign in inner for sign in _OPERATORS):
        return frozenset()
    found: frozenset[int] = frozenset()
    for member in _MEMBER.finditer(inner):
        if member[0] == "-" and 0 < member.start() < len(inner) - 1:
            return frozenset()  # [!-\~] is a range, and [a-\d] to Python a mistake
        if member["first"]:
            first, last = ord(member["first"]), ord(member["last"])
            if first > last or last > 127:
                return frozenset()
            found |= frozenset(range(first, last + 1))
        else:
            found |= _escaped(member["escape"]) if member["escape"] else {_code(member["one"])}
    # What is beyond ASCII is one to us: without ä there are still others.
    return _ALL - (found - {_OTHERS}) if negated else found


def _escaped(character: str) -> frozenset[int]:
    return {"d": _DIGITS, "w": _WORD}.get(character, frozenset({_code(character)}))


def _code(character: str) -> int:
    return ord(character) if ord(character) < 128 else _OTHERS
