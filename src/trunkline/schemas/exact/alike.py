"""Which branches of a union Python cannot tell apart: a value of one would do for the other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from trunkline.schemas import avro
from trunkline.schemas.exact.describe import describe
from trunkline.schemas.exact.logical import logical_of
from trunkline.schemas.exact.write import WIDER, annotation_of, taken_types


def alike_branches(schema: Any) -> Iterator[tuple[str, str]]:
    """The pairs of branches, in all unions of a schema, that only a guess could tell apart.

    Numbers are no such pair, since each gives the same number back, nor are a text and a UUID.
    """
    alike = _Alike(avro.named_types(schema))
    for union in avro.walk(schema):
        if avro.kind(union) != "union":
            continue
        for one, other in combinations(map(alike.known, union), 2):
            numbers = avro.kind(one) in WIDER and avro.kind(other) in WIDER
            ids = "uuid.UUID" in (annotation_of(one), annotation_of(other))
            same_ids = annotation_of(one) == annotation_of(other)
            if not numbers and (same_ids or not ids) and alike(one, other):
                yield describe(one), describe(other)


class _Alike:
    """Whether a value can be of both of two types."""

    def __init__(self, named: dict[str, Any]) -> None:
        self._named = named
        self._found: dict[tuple[str, str], bool] = {}

    def known(self, schema: Any) -> Any:
        """The schema where only its name stands."""
        return self._named.get(schema, schema) if isinstance(schema, str) else schema

    def __call__(self, one: Any, other: Any) -> bool:
        one, other = self.known(one), self.known(other)
        for union, single in ((one, other), (other, one)):
            if avro.kind(union) == "union":
                return any(self(branch, single) for branch in union)
        if not set(taken_types(one, self._named)) & set(taken_types(other, self._named)):
            return False
        match avro.kind(one), avro.kind(other):
            case "enum", "enum":
                return bool(set(one["symbols"]) & set(other["symbols"]))
            case "fixed", "fixed" if logical_of(one) is logical_of(other) is None:
                return bool(one["size"] == other["size"])
            case "record", "record":
                return self._records(one, other)
            case "record", "map":
                return self._record_and_map(one, other)
            case "map", "record":
                return self._record_and_map(other, one)
            case kinds:  # the symbols of an enum are no UUIDs
                uuid = "uuid.UUID" in (annotation_of(one), annotation_of(other))
                return not ("enum" in kinds and uuid)

    def _records(self, one: Any, other: Any) -> bool:
        names = (one["name"], other["name"])
        if names not in self._found:
            self._found[names] = True  # until a difference is found: types may contain themselves
            self._found[names] = self._is_taken(one, other) or self._is_taken(other, one)
        return self._found[names]

    def _is_taken(self, one: Any, other: Any) -> bool:
        """Whether a whole value of one record would do for another."""
        fields = {field["name"]: field["type"] for field in one["fields"]}
        others = {field["name"]: field for field in other["fields"]}
        lacking = [f for name, f in others.items() if name not in fields and "default" not in f]
        if lacking or fields.keys() - others.keys():
            return False
        return all(self(type_, others[name]["type"]) for name, type_ in fields.items())

    def _record_and_map(self, record: Any, map_: Any) -> bool:
        needed = [field["type"] for field in record["fields"] if "default" not in field]
        return all(self(type_, map_["values"]) for type_ in needed)
