"""Parses the expressions of rules: a subset of CEL, the Common Expression Language.

The grammar is that of CEL's language definition, "Syntax", without arithmetic, macros over lists,
conversions, bytes and unsigned numbers. Text of any size and depth is refused, not parsed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

MAX_LENGTH = 2_000
"""Characters of an expression."""
MAX_DEPTH = 40
"""Brackets, negations and members in one another."""
FUNCTIONS = {"size": 0, "matches": 1, "contains": 1, "startsWith": 1, "endsWith": 1}
"""How many arguments each has beside what it is called on."""
SUBSET = (
    "rules have comparisons, in, &&, ||, !, has(this.map.key), size, matches, contains, "
    "startsWith, endsWith, this, its fields, and now"
)
RESERVED = ("true", "false", "null", "in")
_TOKEN = re.compile(
    r"""(?P<space>(?:\s|//[^\n]*)+)
    |(?P<number>0[xX][0-9a-fA-F]+|(?:\d+\.\d+|\.\d+|\d+)(?:[eE][+-]?\d+)?)
    |(?P<raw>[rR](?:"[^"\n]*"|'[^'\n]*'))
    |(?P<text>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
    |(?P<name>[_a-zA-Z][_a-zA-Z0-9]*)
    |(?P<sign>&&|\|\||[=!<>]=|[<>!()\[\],.-])""",
    re.VERBOSE | re.ASCII,
)
_COMPARING = ("==", "!=", "<", "<=", ">", ">=", "in")
_ESCAPE = re.compile(
    r"\\(?:(?P<hex>[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})|(?P<octal>[0-3][0-7]{2})"
    r"|(?P<one>.))"
)
_ONE = dict(zip("abfnrtv\\?\"'`", "\a\b\f\n\r\t\v\\?\"'`", strict=True))


class RuleSyntaxError(ValueError):
    """An expression is no rule. ``at``: the offset of the character where it begins to be none."""

    def __init__(self, at: int, why: str) -> None:
        super().__init__(why)
        self.at = at


@dataclass(frozen=True, slots=True)
class Node:
    """A part of an expression. ``at``: where it begins."""

    at: int


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """A constant: a bool, an int, a float, a str or None. ``text``: as it is written."""

    value: Any
    text: str = ""


@dataclass(frozen=True, slots=True)
class Items(Node):
    """A list that is written out."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Name(Node):
    """``this`` or ``now``."""

    name: str


@dataclass(frozen=True, slots=True)
class Member(Node):
    """``of.name``."""

    of: Node
    name: str


@dataclass(frozen=True, slots=True)
class Call(Node):
    """One of FUNCTIONS, or ``has``, on ``of``."""

    name: str
    of: Node
    arguments: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Not(Node):
    """``!of``."""

    of: Node


@dataclass(frozen=True, slots=True)
class Compare(Node):
    """``left sign right``, ``in`` being a sign, too."""

    sign: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Logic(Node):
    """``a && b && c``, ``a || b || c``."""

    sign: str
    parts: tuple[Node, ...]


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


def parse(expression: str) -> Node:
    """The expression's tree. Raises RuleSyntaxError for what is not in the subset."""
    if len(expression) > MAX_LENGTH:
        raise RuleSyntaxError(MAX_LENGTH, f"an expression has {MAX_LENGTH} characters at the most")
    return _Parser(_tokens(expression)).whole()


def _tokens(expression: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(expression):
        match = _TOKEN.match(expression, at)
        if match is None:
            raise RuleSyntaxError(at, f"{expression[at]!r} is not taken: {SUBSET}")
        kind, text = str(match.lastgroup), match[0]
        before = found[-1] if found else None
        touched = before.kind if before and before.at + len(before.text) == at else ""
        if before and kind == "name" and touched == "number":
            raise RuleSyntaxError(before.at, f"{before.text}{text} is no number: {SUBSET}")
        if before and kind in ("text", "raw") and touched in ("name", "text", "raw"):
            # b'…', '''…'''
            raise RuleSyntaxError(before.at, "texts are '…', \"…\", r'…' or r\"…\"")
        if kind != "space":
            found.append(_Token(kind, text, at))
        at = match.end()
    found.append(_Token("end", "the end", at))
    return found


class _Parser:
    """Recursive descent, a method for each rule of the grammar."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    def whole(self) -> Node:
        """The tree of all tokens."""
        tree = self._or()
        if self._token.kind != "end":
            raise self._unexpected()
        return tree

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._token
        self._next += 1
        return token

    def _is(self, *texts: str) -> bool:
        return self._token.kind in ("sign", "name") and self._token.text in texts

    def _expect(self, text: str) -> None:
        if not self._is(text):
            raise self._unexpected(f"{text!r} is missing before it")
        self._take()

    def _unexpected(self, why: str = "") -> RuleSyntaxError:
        token = self._token
        told = token.text if token.kind == "end" else repr(token.text)
        return RuleSyntaxError(token.at, f"{told} is not expected here: {why or SUBSET}")

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise RuleSyntaxError(self._token.at, f"nested more than {MAX_DEPTH} deep")

    def _or(self) -> Node:
        return self._joined("||", self._and)

    def _and(self) -> Node:
        return self._joined("&&", self._comparison)

    def _joined(self, sign: str, part: Callable[[], Node]) -> Node:
        parts = [part()]
        while self._is(sign):
            self._take()
            parts.append(part())
        return Logic(parts[0].at, sign, tuple(parts)) if len(parts) > 1 else parts[0]

    def _comparison(self) -> Node:
        left = self._unary()
        if not self._is(*_COMPARING):
            return left
        sign = self._take()
        found = Compare(sign.at, sign.text, left, self._unary())
        if self._is(*_COMPARING):
            raise self._unexpected("compare two at a time, with && between")
        return found

    def _unary(self) -> Node:
        if self._is("!"):
            sign = self._take()
            self._deeper()
            found = Not(sign.at, self._unary())
            self._depth -= 1
            return found
        if self._is("-"):
            sign = self._take()
            if self._token.kind != "number":
                raise self._unexpected("- stands before a number only")
            return _number(self._take(), sign)
        return self._members(self._primary())

    def _members(self, found: Node) -> Node:
        begin = self._depth
        while self._is("."):
            self._take()
            self._deeper()
            name = self._take()
            if name.kind != "name" or name.text in RESERVED:
                self._next -= 1
                raise self._unexpected(
                    "a field's name must stand here; true, false, null, in are none"
                )
            if self._is("("):
                found = self._method(name, found)
            else:
                found = Member(name.at, found, name.text)
        self._depth = begin
        return found

    def _method(self, name: _Token, of: Node) -> Node:
        if name.text not in FUNCTIONS:
            raise RuleSyntaxError(name.at, f"there is no function {name.text}(): {SUBSET}")
        return self._called(name, of, self._arguments())

    def _called(self, name: _Token, of: Node, arguments: tuple[Node, ...]) -> Node:
        wanted = FUNCTIONS[name.text]
        if len(arguments) != wanted:
            given = f"{len(arguments)} instead of {wanted}"
            raise RuleSyntaxError(name.at, f"{name.text}() has {given} arguments beside its value")
        return Call(name.at, name.text, of, arguments)

    def _arguments(self) -> tuple[Node, ...]:
        self._expect("(")
        return self._listed(")")

    def _listed(self, end: str) -> tuple[Node, ...]:
        self._deeper()
        found: list[Node] = []
        while not self._is(end):
            if found:
                self._expect(",")
            found.append(self._or())
        self._take()
        self._depth -= 1
        return tuple(found)

    def _primary(self) -> Node:
        token = self._take()
        match token.kind, token.text:
            case "number", _:
                return _number(token)
            case "text" | "raw", _:
                return Literal(token.at, _text(token), token.text)
            case "name", "true" | "false" | "null":
                return Literal(token.at, {"true": True, "false": False}.get(token.text), token.text)
            case "name", "this" | "now":
                return Name(token.at, token.text)
            case "name", name if self._is("("):
                return self._function(token, name)
            case "name", name if name not in RESERVED:
                raise RuleSyntaxError(token.at, f"there are this and now only; this.{name}?")
            case "sign", "(":
                self._deeper()
                inner = self._or()
                self._expect(")")
                self._depth -= 1
                return inner
            case "sign", "[":
                return Items(token.at, self._listed("]"))
        self._next -= 1
        raise self._unexpected()

    def _function(self, token: _Token, name: str) -> Node:
        if name == "has":
            arguments = self._arguments()
            if len(arguments) != 1 or not isinstance(arguments[0], Member):
                raise RuleSyntaxError(token.at, "has() takes a member, as has(this.labels.colour)")
            return Call(token.at, name, arguments[0])
        if name not in FUNCTIONS:
            raise RuleSyntaxError(token.at, f"there is no function {name}(): {SUBSET}")
        if name != "size":
            raise RuleSyntaxError(token.at, f"write it behind its value: this.field.{name}(…)")
        arguments = self._arguments()
        if not arguments:
            raise RuleSyntaxError(token.at, "size() of what?")
        return self._called(token, arguments[0], arguments[1:])


def _number(token: _Token, minus: _Token | None = None) -> Literal:
    """Raises RuleSyntaxError for one that CEL's 64 bits do not hold."""
    text = f"-{token.text}" if minus else token.text
    at = minus.at if minus else token.at
    if token.text[:2] in ("0x", "0X"):
        value: float = int(text, 16)
    elif token.text.isdecimal():
        value = int(text)
    else:
        value = float(text)
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise RuleSyntaxError(at, f"{text} has more than 64 bits")
    if value in (float("inf"), float("-inf")):
        raise RuleSyntaxError(at, f"{text} is larger than any double")
    return Literal(at, value, text)


def _text(token: _Token) -> str:
    if token.kind == "raw":
        return token.text[2:-1]

    def character(match: re.Match[str]) -> str:
        if code := match["hex"] or match["octal"]:
            number = int(code[1:], 16) if match["hex"] else int(code, 8)
            if number > 0x10FFFF or 0xD800 <= number < 0xE000:
                raise RuleSyntaxError(token.at + match.start() + 1, f"{match[0]} is no character")
            return chr(number)
        if match["one"] not in _ONE:
            raise RuleSyntaxError(
                token.at + match.start() + 1,
                f"{match[0]} is no escape; a backslash is \\\\, and in r'…' it stands for itself",
            )
        return _ONE[match["one"]]

    return _ESCAPE.sub(character, token.text[1:-1])
