"""What another version of a document changes for those who call its operations, and for flows that
read its answers: what breaks somebody, and what does not."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trunkline.openapi.api import Api, ApiOperation
from trunkline.openapi.schemas import PREFIX

MAX_DEPTH = 60
_ALL = frozenset(("string", "number", "boolean", "array", "object", "null"))
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_EXACT = ("pattern", "format", "const", "multipleOf", "uniqueItems", "not")


@dataclass(frozen=True, slots=True)
class Change:
    """A change of an operation. ``line``: of the operation, in the newer document, or in the older
    one where it is no more."""

    operation: str
    breaking: bool
    what: str
    line: int


def changes(old: Api, new: Api, only: Collection[str] = ()) -> list[Change]:
    """All changes, those that break something first. ``only``: ids or names of operations of the
    older document, all by default."""
    found = [*_all(old, new, only)]
    return sorted(dict.fromkeys(found), key=lambda one: (not one.breaking, one.operation, one.what))


def _all(old: Api, new: Api, only: Collection[str]) -> Iterator[Change]:
    by_place = {_place(one): one for one in new.operations}
    by_id = {one.id: one for one in new.operations}
    refused = {(one.method.lower(), _shape(one.path)): one for one in new.unsupported}
    known = set()
    for one in old.operations:
        now = by_place.get(_place(one)) or by_id.get(one.id)
        if now is not None:
            known.add(now.name)
        if only and one.id not in only and one.name not in only:
            continue
        if now is not None:
            yield from _operation(old, new, one, now)
        elif (why := refused.get(_place(one))) is not None:
            yield Change(one.name, True, f"can be imported no more: {why.reason}", why.line)
        else:
            yield Change(one.name, True, "is no more", old.line(one))
    for one in new.operations if not only else ():
        if one.name not in known:
            yield Change(one.name, False, "is new", new.line(one))


def _place(one: ApiOperation) -> tuple[str, str]:
    return one.method, _shape(one.path)


def _shape(path: str) -> str:
    return re.sub(r"\{[^{}]*\}", "{}", path)


def _operation(old: Api, new: Api, before: ApiOperation, now: ApiOperation) -> Iterator[Change]:
    line = new.line(now)

    def told(breaking: bool, what: str) -> Change:
        return Change(before.name, breaking, what, line)

    if before.name != now.name:
        yield told(True, f"its name is now {now.name}")
    if (before.method, before.path) != (now.method, now.path):
        yield told(False, f"it is now {now.method.upper()} {now.path}")
    if before.safety != now.safety:
        yield told(now.safety != "safe", f"it was {before.safety}, and is {now.safety}")
    if now.deprecated and not before.deprecated:
        yield told(False, "is deprecated")
    words = _Comparison(old, new, asked=True)
    for breaking, what in words.compared(before.request, now.request, "", 0):
        yield told(breaking, what)
    answers = _Comparison(old, new, asked=False)
    for status in before.replies.keys() - now.replies.keys():
        yield told(True, f"its answer {status} is no more")
    for status in now.replies.keys() - before.replies.keys():
        yield told(False, f"its answer {status} is new")
    for status in before.replies.keys() & now.replies.keys():
        was, is_now = before.replies[status], now.replies[status]
        if was is not None and is_now is None:
            yield told(True, f"its answer {status} is no longer described")
        elif was is not None:
            for breaking, what in answers.compared(was, is_now, f"answer {status}", 0):
                yield told(breaking, what)


class _Comparison:
    """Of schemas. ``asked``: of what is asked for, where to take less breaks who asks; else of an
    answer, where to give more breaks who reads."""

    def __init__(self, old: Api, new: Api, *, asked: bool) -> None:
        self._old = old
        self._new = new
        self._asked = asked
        self._seen: set[tuple[str, str]] = set()

    def compared(self, old: Any, new: Any, at: str, depth: int) -> Iterator[tuple[bool, str]]:
        """Whether each change breaks somebody, and what it is."""
        both = _reference(old), _reference(new)
        if any(both):
            if both in self._seen:
                return
            self._seen.add(both)
        old, new = _resolved(self._old, old), _resolved(self._new, new)
        if depth > MAX_DEPTH:
            return
        yield from self._kinds(old, new, at)
        yield from self._bounds(old, new, at)
        yield from self._members(old, new, at, depth)
        for name in ("items", "additionalProperties"):
            was, is_now = old.get(name, True), new.get(name, True)
            if was is not True or is_now is not True:
                where = f"{at}[]" if name == "items" else f"{at}.*".lstrip(".")
                if is_now is False or was is False:
                    if was is not is_now:
                        narrower = is_now is False
                        told = "takes no other members" if narrower else "may have other members"
                        yield narrower == self._asked, f"{at or 'the request'} {told}"
                else:
                    yield from self.compared(was, is_now, where, depth + 1)
        for name in ("anyOf", "oneOf", "allOf"):
            yield from self._branches(old, new, name, at, depth)

    def _kinds(self, old: Any, new: Any, at: str) -> Iterator[tuple[bool, str]]:
        was, is_now = _types(old), _types(new)
        at = at or "the request"
        for one in sorted(was - is_now):
            yield self._asked, f"{at} is no {one} any more"
        for one in sorted(is_now - was):
            yield not self._asked, f"{at} may be {one}, too"
        values, values_now = _values(old), _values(new)
        if values is None and values_now is not None:
            yield self._asked, f"{at} has certain values only"
        elif values is not None and values_now is None:
            yield not self._asked, f"{at} may have any value"
        elif values is not None and values_now is not None:
            for one in sorted(values - values_now):
                yield self._asked, f"{at} has the value {one[:60]} no more"
            for one in sorted(values_now - values):
                yield not self._asked, f"{at} has the value {one[:60]}, too"

    def _bounds(self, old: Any, new: Any, at: str) -> Iterator[tuple[bool, str]]:
        for name in (*_LOWER, *_UPPER):
            was, is_now = old.get(name), new.get(name)
            if was == is_now:
                continue
            higher = was is None or (is_now is not None and is_now > was)
            tighter = is_now is not None and (
                was is None or (higher if name in _LOWER else not higher)
            )
            yield tighter == self._asked, f"{at}: {name} was {was}, and is {is_now}"
        for name in _EXACT:
            was, is_now = old.get(name), new.get(name)
            if was != is_now:
                breaks = is_now is not None if self._asked else was is not None
                shown = [
                    json.dumps(one)[:60] if one is not None else "none" for one in (was, is_now)
                ]
                yield breaks, f"{at}: {name} was {shown[0]}, and is {shown[1]}"

    def _members(self, old: Any, new: Any, at: str, depth: int) -> Iterator[tuple[bool, str]]:
        was, is_now = old.get("properties", {}), new.get("properties", {})
        needed, needed_now = {*old.get("required", ())}, {*new.get("required", ())}
        for name in sorted(was.keys() | is_now.keys()):
            where = f"{at}.{name}" if at else name
            if name not in is_now:
                closed = new.get("additionalProperties") is False
                yield closed if self._asked else True, f"{where} is no more"
            elif name not in was:
                must = self._asked and name in needed_now
                yield must, f"{where} is new" + (" and must be given" if must else "")
            else:
                if name in needed_now - needed:
                    yield self._asked, f"{where} must be there now"
                if name in needed - needed_now:
                    yield not self._asked, f"{where} may be missing now"
                yield from self.compared(was[name], is_now[name], where, depth + 1)
        for name in sorted((needed_now - needed) - is_now.keys()):
            yield self._asked, f"{at}.{name}".lstrip(".") + " must be there now"

    def _branches(
        self, old: Any, new: Any, name: str, at: str, depth: int
    ) -> Iterator[tuple[bool, str]]:
        was, is_now = old.get(name, []), new.get(name, [])
        if len(was) == len(is_now):
            for one, other in zip(was, is_now, strict=True):
                yield from self.compared(one, other, at, depth + 1)
            return
        fewer = len(is_now) < len(was) if was and is_now else not was
        breaks = True if name == "allOf" else fewer == self._asked
        yield (
            breaks,
            f"{at or 'the request'}: {name} had {len(was)} branches, and has {len(is_now)}",
        )


def _reference(schema: Any) -> str:
    found = schema.get("$ref") if isinstance(schema, Mapping) else None
    return found if isinstance(found, str) else ""


def _resolved(api: Api, schema: Any) -> dict[str, Any]:
    """The schema without a reference at its top; {} for any value."""
    hops = MAX_DEPTH
    besides: dict[str, Any] = {}
    while isinstance(schema, dict) and "$ref" in schema and hops:
        besides = {**{n: v for n, v in schema.items() if n != "$ref"}, **besides}
        name = schema["$ref"].removeprefix(PREFIX)
        schema, hops = api.schemas.definition(name), hops - 1
    if not isinstance(schema, dict):
        return besides if schema is not False else {"not": True}
    return {**schema, **besides}


def _types(schema: Mapping[str, Any]) -> frozenset[str]:
    """Its types; one that is a whole number is told apart where only that is allowed."""
    said = schema.get("type")
    if said is None:
        return _ALL
    return frozenset(said if isinstance(said, list) else [said])


def _values(schema: Mapping[str, Any]) -> set[str] | None:
    if "enum" not in schema:
        return None
    return {json.dumps(one, sort_keys=True) for one in schema["enum"]}
