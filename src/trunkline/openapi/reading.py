"""The text of a JSON or YAML document as values, within bounds, and in which lines they stand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from trunkline.errors import ConfigurationError, MissingExtra

MAX_BYTES = 32 * 1024 * 1024
MAX_DEPTH = 100
"""Objects and lists in one another: the largest documents of vendors have thirty."""
MAX_VALUES = 4_000_000
"""Values of a document, those of a YAML alias counted wherever it stands."""
Pointer = tuple[str, ...]
"""Where something stands in a document: the names and numbers that lead to it."""


class Text:
    """A document that was read: its ``value``."""

    def __init__(self, text: str, value: Any, lines: dict[tuple[int, str], int] | None) -> None:
        self.value = value
        self._text = text
        self._lines = lines

    def lines(self, wanted: Iterable[Pointer]) -> dict[Pointer, int]:
        """The lines of what stands at these pointers, or else of what is around it. From 1 on."""
        if self._lines is None:
            return _json_lines(self._text, {*wanted})
        return {pointer: self._line(pointer, self._lines) for pointer in wanted}

    def _line(self, pointer: Pointer, lines: dict[tuple[int, str], int]) -> int:
        value, line = self.value, 1
        for name in pointer:
            line = lines.get((id(value), name), line)
            try:
                value = value[int(name)] if isinstance(value, list) else value[name]
            except (LookupError, TypeError, ValueError):
                break
        return line


def read_document(body: bytes) -> Text:
    """The document of a file's bytes: JSON, or YAML 1.2. Raises ConfigurationError, which names the
    line where that is known; MissingExtra for YAML without its reader."""
    if len(body) > MAX_BYTES:
        raise ConfigurationError(f"it has {len(body)} bytes: at most {MAX_BYTES} are read")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body[: error.start].count(b"\n") + 1
        raise ConfigurationError(f"line {line}: it is not UTF-8") from None
    if text.lstrip()[:1] in ("{", "["):
        value, lines = _json(text), None
        _require_bounded(value)
    else:
        value, lines = _yaml(text)
    if not isinstance(value, dict):
        raise ConfigurationError("it is no OpenAPI document: it is no object")
    return Text(text, value, lines)


def _json(text: str) -> Any:
    def constant(name: str) -> Any:
        raise ConfigurationError(f"{name} is no JSON")

    try:
        return json.loads(text, parse_constant=constant)
    except json.JSONDecodeError as error:
        told = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise ConfigurationError(f"it is no JSON: {told}") from None
    except RecursionError:
        raise ConfigurationError(f"it is nested more than {MAX_DEPTH} deep") from None
    except ValueError:  # Python refuses integers of more than 4,300 digits
        raise ConfigurationError("it is no JSON: a number has too many digits") from None


def _require_bounded(value: Any) -> None:
    """Level by level: a recursion would be what it is to find."""
    level, count = [value], 0
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below.extend(one.values())
            elif isinstance(one, list):
                below.extend(one)
        count += len(below)
        if count > MAX_VALUES:
            raise ConfigurationError(f"it has more than {MAX_VALUES} values")
        if not below:
            return
        level = below
    raise ConfigurationError(f"it is nested more than {MAX_DEPTH} deep")


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:\n]', re.DOTALL)


def _json_lines(text: str, wanted: set[Pointer]) -> dict[Pointer, int]:
    """One pass over the tokens, with the way that leads to where it is."""
    prefixes = {pointer[:end] for pointer in wanted for end in range(len(pointer) + 1)}
    found: dict[Pointer, int] = {(): 1}
    way: list[str | int] = []
    line, name, last = 1, "", ""
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token == "\n":
            line += 1
        elif token in "{[":
            way.append("" if token == "{" else 0)
            if token == "[":
                _found(way, line, prefixes, found)
        elif token in "}]":
            if way:
                way.pop()
        elif token == ":" and way:
            name = last
            way[-1] = json.loads(name) if "\\" in name else name[1:-1]
            _found(way, line, prefixes, found)
        elif token == ",":
            if way and isinstance(way[-1], int):
                way[-1] += 1
                _found(way, line, prefixes, found)
        else:
            last = token
            line += token.count("\n")
    return {pointer: _nearest(pointer, found) for pointer in wanted}


def _found(
    way: list[str | int], line: int, prefixes: set[Pointer], found: dict[Pointer, int]
) -> None:
    pointer = tuple(map(str, way))
    if pointer in prefixes:
        found.setdefault(pointer, line)


def _nearest(pointer: Pointer, found: dict[Pointer, int]) -> int:
    return next(found[pointer[:n]] for n in range(len(pointer), -1, -1) if pointer[:n] in found)


# YAML

_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,4000}")
_BASED = re.compile(r"0o[0-7]{1,100}|0x[0-9a-fA-F]{1,100}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")


def _yaml(text: str) -> tuple[Any, dict[tuple[int, str], int]]:
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra("a document in YAML", "openapi") from error
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Composer().composed(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        at = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ConfigurationError(f"it is no YAML: {at}{error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"it is no YAML: {str(error).splitlines()[0]}") from None


class _Node:
    """A mapping or a list that is being read. ``size``: its values, aliases counted each time."""

    __slots__ = ("anchor", "key", "key_line", "line", "merged", "size", "value")

    def __init__(self, value: Any, anchor: str | None, line: int) -> None:
        self.value, self.anchor, self.line = value, anchor, line
        self.key: str | None = None
        self.key_line = line
        self.size = 1
        self.merged: list[Any] = []


class _Composer:
    """Makes values of YAML's events, by the core schema of YAML 1.2: ``no`` is a text there, and a
    date, too. Not PyYAML's own constructor: it follows 1.1, recurses, and knows no bounds."""

    def __init__(self) -> None:
        self._stack: list[_Node] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._lines: dict[tuple[int, str], int] = {}
        self._root: Any = None
        self._count = 0

    def composed(self, events: Iterator[Any]) -> tuple[Any, dict[tuple[int, str], int]]:
        """The value of the first document, and the lines of its members."""
        documents = 0
        for event in events:
            kind = type(event).__name__
            line = event.start_mark.line + 1
            if kind == "DocumentStartEvent":
                documents += 1
                if documents > 1:
                    raise ConfigurationError(f"line {line}: it has several YAML documents")
            elif kind == "ScalarEvent":
                self._scalar(event, line)
            elif kind == "AliasEvent":
                self._alias(event.anchor, line)
            elif kind in ("MappingStartEvent", "SequenceStartEvent"):
                if len(self._stack) > MAX_DEPTH:
                    deep = f"it is nested more than {MAX_DEPTH} deep"
                    raise ConfigurationError(f"line {line}: {deep}")
                made: Any = {} if kind == "MappingStartEvent" else []
                self._stack.append(_Node(made, event.anchor, line))
            elif kind in ("MappingEndEvent", "SequenceEndEvent"):
                self._end()
        return self._root, self._lines

    def _scalar(self, event: Any, line: int) -> None:
        top = self._stack[-1] if self._stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            top.key, top.key_line = event.value, line  # of `200:` the very characters
            return
        plain = event.implicit[0] and event.tag is None
        value = _plain(event.value) if plain else event.value
        if event.anchor:
            self._anchors[event.anchor] = (value, 1)
        self._put(value, 1, line)

    def _alias(self, name: str, line: int) -> None:
        if name not in self._anchors:
            told = "refers to itself" if self._is_open(name) else "is nowhere"
            raise ConfigurationError(f"line {line}: the alias *{name} {told}")
        value, size = self._anchors[name]
        top = self._stack[-1] if self._stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            top.key, top.key_line = str(value), line
            return
        self._put(value, size, line)

    def _is_open(self, name: str) -> bool:
        return any(node.anchor == name for node in self._stack)

    def _put(self, value: Any, size: int, line: int) -> None:
        self._count += 1
        if not self._stack:
            self._root = value
            return
        top = self._stack[-1]
        top.size += size
        if max(top.size, self._count) > MAX_VALUES:
            told = f"it has more than {MAX_VALUES} values, with those of its aliases"
            raise ConfigurationError(f"line {line}: {told}")
        if isinstance(top.value, list):
            self._lines[id(top.value), str(len(top.value))] = line
            top.value.append(value)
        elif top.key is None:
            raise ConfigurationError(f"line {line}: a list or an object is no name of a member")
        else:
            if top.key == "<<":
                top.merged += value if isinstance(value, list) else [value]
            else:
                self._lines[id(top.value), top.key] = top.key_line
                top.value[top.key] = value
            top.key = None

    def _end(self) -> None:
        node = self._stack.pop()
        for other in node.merged:
            for name, value in other.items() if isinstance(other, dict) else ():
                if name not in node.value:
                    node.value[name] = value
                    self._lines[id(node.value), name] = node.line
        if node.anchor:
            self._anchors[node.anchor] = (node.value, node.size)
        self._put(node.value, node.size, node.line)


def _plain(text: str) -> Any:
    if _NULL.fullmatch(text):
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
