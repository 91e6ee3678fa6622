"""What the statements in the log do: to transactions, to the definition of tables, to rows.

With row format a statement changes no rows, but for those which change all of them at once. The
text is taken apart into words, as far as tells which tables it is about: MySQL Reference Manual,
"Data Definition Statements" and "Comments".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

Kind = Literal[
    "begin", "commit", "rollback", "xa", "nothing", "truncate", "drop", "rename", "alter", "key",
    "rows",
]  # fmt: skip
Name = tuple[str, str]
"""Database and table."""

_TOKEN = re.compile(
    r"""
      (?P<executed>/\*M?!\d*)               # the begin of a comment that is executed
    | (?P<comment>/\*.*?\*/|\*/|(?:\#|--[\s])[^\n]*)
    | `(?P<name>(?:[^`]|``)*)`
    | "(?P<double>(?:[^"\\]|""|\\.)*)"
    | (?P<string>'(?:[^'\\]|''|\\.)*')
    | (?P<word>[\w$@\u0080-\uffff]+)
    | (?P<mark>\S)
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """A word or a name of a statement. ``word``: in capitals, "" for a quoted name or a string."""

    word: str
    name: str | None


class Statement(NamedTuple):
    """What a statement does. ``tables``: which it is about; of a rename old and new name, in pairs.
    ``kind`` "alter" is a change of partitions or tablespaces, named in ``what``, with the table
    that gives or takes a partition's rows: other changes of a table need nothing, as table maps
    tell them. "key": the table gets a primary key, in place of one that it had. "rows": it changes
    rows, in the tables that are named, or in any if none is. ``xid``: which XA transaction it is
    about, as the server writes it into its log, in small letters."""

    kind: Kind
    tables: Sequence[Name] = ()
    what: str = ""
    xid: str = ""


_NOTHING = Statement("nothing")
_TRANSACTIONS: dict[str, Kind] = {
    "BEGIN": "begin", "START": "begin", "COMMIT": "commit", "ROLLBACK": "rollback", "XA": "xa",
}  # fmt: skip
# SELECT and DO are calls of stored functions: they are in the log only where these change rows.
_ROWS = frozenset((
    "INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "WITH", "CALL", "DO", "SELECT",
))  # fmt: skip
_MOVING = frozenset(("EXCHANGE", "DISCARD", "IMPORT"))
_EMPTYING = frozenset(("DROP", "TRUNCATE"))
_BEFORE_NAME = frozenset(("IF", "NOT", "EXISTS", "WAIT", "NOWAIT", "IGNORE", "ONLINE", "OFFLINE"))


def read(text: str, database: str, ansi_quotes: bool = False) -> Statement:
    """What the statement does, run in ``database``."""
    usual = _TRANSACTIONS.get(text[:8].rstrip(" ;").upper())
    if usual and len(text) < 9:
        return Statement(usual)
    tokens = list(_tokens(text, ansi_quotes))
    if not tokens:
        return _NOTHING
    tokens = tokens[_begin(tokens) :]
    first, second = tokens[0].word, tokens[1].word if len(tokens) > 1 else ""
    if first == "ROLLBACK" and "TO" in (second, *(t.word for t in tokens[2:3])):
        return Statement("rollback", what="to a savepoint")
    if first == "XA":
        return Statement("xa", what=second, xid=text.split(None, 2)[-1].rstrip(" ;").lower())
    if first in _TRANSACTIONS and not (first == "START" and second != "TRANSACTION"):
        return Statement(_TRANSACTIONS[first], what=second)
    if first in _ROWS:
        return Statement("rows", _targets(first, tokens, database))
    if first == "TRUNCATE":
        return Statement("truncate", [_name(tokens, 2 if second == "TABLE" else 1, database)[0]])
    if first in ("DROP", "RENAME", "ALTER", "CREATE"):
        return _definition(first, tokens, database)
    return _NOTHING


def _begin(tokens: Sequence[Token]) -> int:
    """Where the statement itself begins: MariaDB's may stand behind settings that hold for it
    alone, SET STATEMENT max_statement_time = 9 FOR DROP TABLE t."""
    words = [token.word for token in tokens]
    if words[:2] != ["SET", "STATEMENT"] or "FOR" not in words[:-1]:
        return 0
    return words.index("FOR") + 1


def _tokens(text: str, ansi_quotes: bool) -> Iterator[Token]:
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup
        if kind in ("executed", "comment"):
            continue
        if kind == "name":
            yield Token("", found["name"].replace("``", "`"))
        elif kind == "double" and ansi_quotes:
            yield Token("", found["double"].replace('""', '"'))
        elif kind == "word":
            yield Token(found["word"].upper(), found["word"])
        elif kind == "mark":
            yield Token(found["mark"], None)
        else:
            yield Token("", None)


def _definition(first: str, tokens: Sequence[Token], database: str) -> Statement:
    """DROP, RENAME, ALTER or CREATE of tables and databases."""
    at = 1
    while at < len(tokens) and tokens[at].word in ("OR", "REPLACE", "ONLINE", "IGNORE", "OFFLINE"):
        at += 1
    what = tokens[at].word if at < len(tokens) else ""
    if what in ("DATABASE", "SCHEMA") and first == "DROP":
        at = _skipped(tokens, at + 1)
        return Statement("drop", [(tokens[at].name or "", "")], "its database was dropped")
    if what not in ("TABLE", "TABLES"):  # temporary tables are of no interest, views neither
        return _NOTHING
    at = _skipped(tokens, at + 1)
    if first == "DROP":
        return Statement("drop", _list(tokens, at, database), "it was dropped")
    if first == "CREATE":
        if "REPLACE" not in (token.word for token in tokens[1:3]):
            return _NOTHING  # one that is there is left as it is, or the statement has failed
        return Statement("drop", [_name(tokens, at, database)[0]], "it was made anew")
    if first == "RENAME":
        return Statement("rename", _renames(tokens, at, database))
    return _alter(tokens, at, database)


def _alter(tokens: Sequence[Token], at: int, database: str) -> Statement:
    """ALTER TABLE: a new name anywhere in it, or something that moves rows without telling them."""
    table, at = _name(tokens, at, database)
    pairs = list(zip(tokens[at:], [*tokens[at + 1 :], Token("", None)], strict=True))
    for number, (token, after) in enumerate(pairs, start=at):
        if token.word == "RENAME" and after.word not in ("COLUMN", "INDEX", "KEY"):
            to = number + (2 if after.word in ("TO", "AS", "=") else 1)
            return Statement("rename", [table, _name(tokens, to, database)[0]])
        what = f"{token.word} {after.word}"
        before = tokens[number - 1].word
        if what == "PRIMARY KEY" and before != "DROP":
            return Statement("key", [table])
        if what == "SYSTEM VERSIONING" and before == "ADD":  # its key has then each row's end
            return Statement("key", [table])
        if token.word in _EMPTYING and after.word == "PARTITION":
            return Statement("alter", [table], what)
        if token.word in _MOVING and after.word in ("PARTITION", "TABLESPACE"):
            return Statement("alter", [table, *_partner(tokens, number, database)], what)
        if token.word == "CONVERT" and after.word in ("TABLE", "PARTITION"):
            return Statement("alter", [table, *_partner(tokens, number, database)], what)
    return _NOTHING


def _partner(tokens: Sequence[Token], at: int, database: str) -> Sequence[Name]:
    """The table whose rows go into a partition, or come out of it: EXCHANGE PARTITION p WITH
    TABLE t, CONVERT PARTITION p TO TABLE t, CONVERT TABLE t TO PARTITION p."""
    for number in range(at, len(tokens) - 1):
        if tokens[number].word == "TABLE":
            return [_name(tokens, _skipped(tokens, number + 1), database)[0]]
    return []


def _skipped(tokens: Sequence[Token], at: int) -> int:
    """Where the name begins, behind IF EXISTS and the like."""
    while at < len(tokens) - 1 and tokens[at].word in _BEFORE_NAME:
        at += 2 if tokens[at].word == "WAIT" else 1
    return at


def _name(tokens: Sequence[Token], at: int, database: str) -> tuple[Name, int]:
    """The name at ``at``, and where it ends; of the database that it is run in unless it says."""
    if at >= len(tokens) or tokens[at].name is None:
        return (database, ""), at + 1
    first = tokens[at].name or ""
    if at + 2 < len(tokens) and tokens[at + 1].word == "." and tokens[at + 2].name is not None:
        return (first, tokens[at + 2].name or ""), at + 3
    return (database, first), at + 1


def _list(tokens: Sequence[Token], at: int, database: str) -> list[Name]:
    found = []
    while at < len(tokens):
        name, at = _name(tokens, at, database)
        found.append(name)
        if at >= len(tokens) or tokens[at].word != ",":
            break
        at += 1
    return found


def _renames(tokens: Sequence[Token], at: int, database: str) -> list[Name]:
    found = []
    while at < len(tokens):
        name, at = _name(tokens, at, database)
        found.append(name)
        while at < len(tokens) and tokens[at].word in ("TO", ",", "WAIT", "NOWAIT"):
            at += 2 if tokens[at].word == "WAIT" else 1
    return found


def _targets(first: str, tokens: Sequence[Token], database: str) -> list[Name]:
    """The one table that INSERT, REPLACE or DELETE names as its target; none if that is not
    plain, as for a statement over several tables."""
    words = [token.word for token in tokens]
    before = {"INSERT": "INTO", "REPLACE": "INTO", "DELETE": "FROM"}.get(first)
    if before is None or before not in words[:5]:
        return []
    at = words.index(before)
    if first == "DELETE" and at != 1:
        return []
    name, end = _name(tokens, at + 1, database)
    several = end < len(tokens) and tokens[end].word in (",", ".", "USING")
    return [] if several or not name[1] else [name]
