"""What may be told of a driver's error: its code, its words and the names in them, and no value.

Servers quote the row that they refuse: ``Key (email)=(jane@example.com) already exists``,
``Duplicate entry 'jane@example.com' for key 'email'``. An error goes into logs, headers of dead
letters and alerts, where nobody expects a customer's data. And whoever groups dead letters by
cause wants one text for one cause.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import exc

from trunkline.errors import TrunklineError
from trunkline.masking import mask

MAX_CHARS = 500
"""Characters of what a driver says that are told."""
HIDDEN = "…"
SHORTEST = 3
"""Characters of a value that is looked for in a text: a shorter one is in every other word."""
MAX_DIGITS = 40
HEAD = 8
"""Characters of a value that give it away: a server may have cut off the rest."""

# SQLSTATE classes whose texts quote values: data, constraints, CHECK OPTION, RAISE EXCEPTION.
_QUOTING_STATES = ("22", "23", "44", "45", "P0")
_NAME = r"`[^`]*`|'[^']*'"
# MySQL and MariaDB, by error number: the value is in the first group.
_QUOTING_NUMBERS: dict[int, re.Pattern[str]] = {
    1062: re.compile(rf"Duplicate entry (.*) for key (?:{_NAME})", re.DOTALL),
    1064: re.compile(r"near (.*) at line \d+", re.DOTALL),
    1526: re.compile(r"value (.*)", re.DOTALL),
    1586: re.compile(rf"Duplicate entry (.*) for key (?:{_NAME})", re.DOTALL),
    1690: re.compile(r"out of range in (.*)", re.DOTALL),
    1761: re.compile(r"record (.*) would lead", re.DOTALL),
    1762: re.compile(r"record (.*) would lead", re.DOTALL),
    3140: re.compile(r"Invalid JSON text: (.*) in value for", re.DOTALL),
}
# Else: "Incorrect integer value: '…' for column `d`.`t`.`c` at row 1", "Illegal double '…' value".
_VALUE = re.compile(
    r"value: (.*?)(?: for (?:column|function) [`'\w.]+(?: at row \d+)?)?$", re.DOTALL
)
_ILLEGAL = re.compile(r"Illegal \w+ (.*) value found", re.DOTALL)


class Told(NamedTuple):
    """An error in words, and what of them all errors of its kind have in common."""

    message: str
    cause: str


def withhold(error: Exception, values: Iterable[Any], names: Collection[str]) -> Told:
    """Take values of rows out of an error and of all that it was raised from; returns what is left.

    ``values``: of the rows that were to be written, as triggers may quote them anywhere.
    ``names``: of the table and its columns, which are told. The errors keep their classes, since a
    destination may judge by those; only their words are others afterwards.
    """
    hidden = sorted({t for value in values for t in _texts(value)} - {*names}, key=len)[::-1]
    for link in _chain(error):
        original = link.orig if isinstance(link, exc.StatementError) else link
        if isinstance(original, TrunklineError) or original is None:
            continue
        words = _without(_words(original, names), hidden)[:MAX_CHARS]
        _replace_words(link, words)
    return _told(error)


def _told(error: Exception) -> Told:
    """``UniqueViolation 23505: duplicate key value violates …``."""
    if isinstance(error, TrunklineError):
        return Told(str(error), mask(str(error)))
    original = error.orig if isinstance(error, exc.StatementError) else error
    kind = type(original).__name__
    code = getattr(original, "pgcode", None) or getattr(original, "sqlite_errorname", None)
    args: tuple[Any, ...] = getattr(original, "args", ())
    if not code and _is_numbered(args):
        code, args = args[0], args[1:2]
    plain = len(args) == 1 and isinstance(args[0], str)
    words = args[0] if plain else str(original)
    begin = f"{kind} {code}: " if code else f"{kind}: "
    return Told(f"{begin}{words}"[:MAX_CHARS], begin + mask(words))


def _is_numbered(args: Sequence[Any]) -> bool:
    """Whether these are PyMySQL's: a number, and words."""
    return len(args) > 1 and isinstance(args[0], int)


def _replace_words(link: BaseException, words: str) -> None:
    if isinstance(link, exc.StatementError):
        link.args = (f"({type(link.orig).__name__}) {words}", *link.args[1:])
        link.params = None
    elif _is_numbered(link.args):
        link.args = (link.args[0], words)  # the number says what it is
    elif isinstance(link, UnicodeEncodeError):
        link.object = "?" * len(link.object)  # its text is made of it
    elif isinstance(link, UnicodeDecodeError):
        link.object = b"?" * len(link.object)
    else:
        link.args = (words,)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from, and what was being handled then: as a traceback shows."""
    seen: set[int] = set()
    open_: list[BaseException | None] = [error]
    while open_:
        link = open_.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        original = link.orig if isinstance(link, exc.StatementError) else None
        open_ += [original, link.__context__, link.__cause__]


# Which part of a text is a value, by its server.


def _words(error: BaseException, names: Collection[str]) -> str:
    """The driver's words on one line, without what they quote of a row."""
    args = error.args
    if getattr(error, "pgcode", None):
        text = _of_postgres(error, names)
    elif _is_numbered(args):
        text = _of_mysql(args[0], str(args[1]))
    elif hasattr(error, "sqlite_errorcode") or type(error).__module__.startswith(_DRIVERS):
        text = str(error)  # SQLite quotes nothing, and a lost connection has no row
    else:
        text = re.sub(r"""(['"]).*\1""", f"'{HIDDEN}'", str(error), flags=re.DOTALL)
    return " ".join(text.split())


_DRIVERS = ("psycopg2", "pymysql", "sqlite3", "sqlalchemy")


def _of_postgres(error: Any, names: Collection[str]) -> str:
    """The primary message and the names. The detail has the row, its context the statement."""
    diag, state = error.diag, str(error.pgcode)
    text = diag.message_primary or ""
    # Bare, as quoted words do not tell causes apart.
    named = {"table": diag.table_name, "column": diag.column_name, "key": diag.constraint_name}
    if state[:2] in _QUOTING_STATES or state == "54000" or diag.context:
        for name in {*named.values(), diag.datatype_name, *names} - {None, ""}:
            text = text.replace(f'"{name}"', name)
        # To the last quotation mark: the server doubles none that are in the value.
        text = re.sub(r'".*"', f'"{HIDDEN}"', text, flags=re.DOTALL)
        text = re.sub(r"\b0x[0-9a-f]{2}( 0x[0-9a-f]{2})*", HIDDEN, text)
    more = [f"{what} {name}" for what, name in named.items() if name and name not in text]
    return f"{text} ({', '.join(more)})" if more else text


def _of_mysql(number: int, text: str) -> str:
    """The text without the value, and with bare names: quoted ones would not tell causes apart."""
    pattern = _QUOTING_NUMBERS.get(number)
    if pattern is None:
        pattern = _ILLEGAL if "Illegal" in text else _VALUE
    if match := pattern.search(text):
        text = f"{text[: match.start(1)]}{HIDDEN}{text[match.end(1) :]}"
    return re.sub(r"(['`])([\w.]+)\1", r"\2", text)


# Values wherever they are: in a trigger's own words, for example.


def _without(text: str, hidden: Iterable[str]) -> str:
    for value in hidden:
        text = _hide(text, value)
    return text


def _hide(text: str, value: str) -> str:
    """``text`` without ``value``, in whatever case, also where only its beginning is there."""
    found, head = text.lower(), value.lower()
    at = 0
    while (at := found.find(head[:HEAD], at)) >= 0:
        end = at
        while end < len(found) and end - at < len(head) and found[end] == head[end - at]:
            end += 1
        if _is_part_of_word(found, at, end) and end - at < HEAD:
            at = end
            continue
        text, found = text[:at] + HIDDEN + text[end:], found[:at] + HIDDEN + found[end:]
    return text


def _is_part_of_word(text: str, start: int, end: int) -> bool:
    return text[start - 1 : start].isalnum() or text[end : end + 1].isalnum()


def _texts(value: Any) -> Iterator[str]:
    """The forms in which a value may stand in a text."""
    forms: tuple[str, ...] = ()
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        forms = (" ".join(value.split()),)
    elif isinstance(value, bytes):
        forms = (value.hex(), " ".join(value.decode(errors="replace").split()))
    elif isinstance(value, (date, time, UUID)):
        forms = (str(value), *((value.hex,) if isinstance(value, UUID) else ()))
    elif isinstance(value, Decimal):
        # A number of thousands of digits is no text that a server quotes.
        short = value.is_finite() and abs(value.adjusted()) < MAX_DIGITS
        forms = (str(value), format(value, "f")) if short else ()
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        forms = (str(value), format(value, "f")) if abs(value) < 10**MAX_DIGITS else ()
    yield from (form for form in forms if len(form) >= SHORTEST)
