"""Schemas that refer to other subjects are made complete in themselves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trunkline.errors import SerializationError
from trunkline.schemas import avro
from trunkline.schemas.references import MOST, References, same_schema
from trunkline.schemas.registry_access import Answer


def record(name: str, *types: Any, **more: Any) -> str:
    fields = [{"name": f"f{n}", "type": type_} for n, type_ in enumerate(types)]
    return json.dumps({"type": "record", "name": name, "fields": fields, **more})


class Subjects:
    """A registry of subjects with one version each. ``asked``: the paths."""

    def __init__(self, **subjects: tuple[str, list[str]]) -> None:
        self._answers = {name: answer(*one) for name, one in subjects.items()}
        self.asked: list[str] = []
        self.references = References(self._ask)

    def _ask(self, path: str) -> Answer:
        self.asked.append(path)
        found = self._answers.get(path.split("/")[2])
        return found or Answer(404, {"error_code": 40401, "message": "Subject not found"})


def answer(schema: str, subjects: list[str]) -> Answer:
    named = [{"name": one, "subject": one, "version": 1} for one in subjects]
    return Answer(200, {"schema": schema, "references": named})


GEO = record("Point", "double", "double", namespace="geo")
ADDRESS = record("Address", "string", ["null", "geo.Point"], namespace="shop")
ORDER = record(
    "Order", {"type": "array", "items": "Address"}, "shop.Address", "geo.Point", namespace="shop"
)


def test_types_are_defined_where_they_are_first_named() -> None:
    registry = Subjects(geo=(GEO, []), address=(ADDRESS, ["geo"]))
    complete = registry.references.completed(answer(ORDER, ["address", "geo"]))
    assert list(avro.named_types(avro.parse(complete))) == [
        "shop.Order",
        "shop.Address",
        "geo.Point",
    ]
    assert complete.count('"double"') == 2
    registry.references.completed(answer(ORDER, ["address", "geo"]))
    assert sorted(registry.asked) == ["/subjects/address/versions/1", "/subjects/geo/versions/1"]
    shuffled = json.loads(complete) | {"doc": "An order."}
    assert same_schema(complete, json.dumps(shuffled))
    assert not same_schema(complete, ORDER)


def test_a_schema_without_references_is_handed_out_as_it_is() -> None:
    registry = Subjects()
    assert registry.references.completed(answer(GEO, [])) == GEO
    assert registry.references.completed(Answer(200, {"schema": "no JSON"})) == "no JSON"
    assert registry.asked == []


def test_subjects_that_refer_to_each_other_come_to_an_end() -> None:
    one, other = record("A", ["null", "B"]), record("B", ["null", "A"])
    registry = Subjects(a=(one, ["b"]), b=(other, ["a"]))
    complete = registry.references.completed(answer(one, ["b"]))
    assert list(avro.named_types(avro.parse(complete))) == ["A", "B"]


@pytest.mark.parametrize(
    ("references", "why"),
    [
        ([{"name": "x", "subject": "nowhere", "version": 1}], "nowhere version 1.*404"),
        ([{"subject": "geo"}], "do not make it whole: KeyError"),
        ([{"subject": "geo", "version": "1"}], "names no version"),
        (["geo"], "do not make it whole"),
        ([{"subject": "geo", "version": 1}], r"KeyError\('shop.Address'\)"),
        ([{"subject": f"s{n}", "version": 1} for n in range(MOST + 1)], "more than 200"),
    ],
)
def test_what_leads_nowhere_is_told(references: list[Any], why: str) -> None:
    many = {f"s{n}": (GEO, []) for n in range(MOST + 1)}
    registry = Subjects(geo=(GEO, []), **many)
    with pytest.raises(SerializationError, match=why):
        registry.references.completed(Answer(200, {"schema": ORDER, "references": references}))
