"""``confluent:rules`` in schemas: which values obey, what is told of the others, and what is no
rule."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import celpy
import pytest
from celpy import celtypes
from hypothesis import given, settings
from hypothesis import strategies as st

from rule_corpus import BARE, EXPRESSIONS, SALE, SCHEMA, schema_with
from trunkline.errors import ConfigurationError, Violation
from trunkline.schemas import avro
from trunkline.schemas.rules.check import Check
from trunkline.schemas.rules.of_schema import compiled_rules
from trunkline.schemas.rules.patterns import search_of
from trunkline.schemas.rules.syntax import MAX_LENGTH, RuleSyntaxError, parse
from trunkline.schemas.types import avro_type, schema_of


def check_of(*rules: str, **fields: str) -> Check:
    """The function for these rules of a sale, r0, r1, …, and one of each of these fields."""
    of_record = ({"name": f"r{n}", "expr": rule} for n, rule in enumerate(rules))
    of_fields = {name: [{"name": name, "expr": rule}] for name, rule in fields.items()}
    text = schema_with(*of_record, **of_fields)
    made = compiled_rules(text, avro.parse(text))
    assert made is not None
    return made


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_verdict_is_that_of_cel(expression: str) -> None:
    """cel-python's: an expression that has no value is one that is not obeyed."""
    env = celpy.Environment()
    program = env.program(env.compile(expression))
    for sale in (SALE, BARE):
        names = {"this": in_cel(sale), "now": celtypes.TimestampType(datetime.now(UTC))}
        try:
            verdict = bool(program.evaluate(names))
        except celpy.CELEvalError:
            verdict = False
        assert (not check_of(expression)(sale)) == verdict


def in_cel(value: Any) -> Any:
    """A value as Confluent's clients hand it to CEL."""
    match value:
        case bool():
            return celtypes.BoolType(value)
        case int():
            return celtypes.IntType(value)
        case float():
            return celtypes.DoubleType(value)
        case str():
            return celtypes.StringType(value)
        case bytes():
            return celtypes.BytesType(value)
        case datetime():
            return celtypes.TimestampType(value)
        case list():
            return celtypes.ListType([in_cel(one) for one in value])
        case dict():
            pairs = {celtypes.StringType(key): in_cel(one) for key, one in value.items()}
            return celtypes.MapType(pairs)
    return value


@settings(max_examples=50)
@given(st.data())
def test_what_is_fast_says_what_each_step_says(data: st.DataObject) -> None:
    """Of any value: what lets pass in one function, and what computes rule by rule."""
    values = {
        "count": st.integers(-3, 3),
        "rate": st.sampled_from((0.5, -0.0, float("nan"), float("inf"))),
        "flag": st.booleans(),
        "note": st.none() | st.sampled_from(("", "x", "für Anna")),
        "weight": st.none() | st.integers(8, 12),
        "gift": st.none() | st.booleans(),
        "tags": st.lists(st.sampled_from(("new", "sale")), max_size=2),
        "labels": st.dictionaries(st.just("colour"), st.sampled_from(("red", "blue"))),
        "buyer": st.none() | st.just({"name": "Anna", "age": 17}),
    }
    sale = {**SALE, **{name: data.draw(value, name) for name, value in values.items()}}
    some = data.draw(st.lists(st.sampled_from(EXPRESSIONS), min_size=1, max_size=4))
    broken = [one for one in some if check_of(one)(sale)]
    assert [int(one.rule[1:]) for one in check_of(*some)(sale)] == [
        n for n, one in enumerate(some) if one in broken
    ]


def test_all_that_is_broken_is_told_at_once_with_the_values() -> None:
    check = check_of(
        "this.count > 0",
        "this.note == null || size(this.note) > 20",
        "this.total > 5",
        id="this.matches('^[A-Z]{9}$')",
    )
    assert check({**SALE, "count": -2}) == [
        Violation("r0", "count", "must be this.count > 0 (count = -2)"),
        Violation(
            "r1",
            "note",
            "must be this.note == null || size(this.note) > 20 (note = 'für Anna')",
        ),
        Violation("id", "id", "must be this.matches('^[A-Z]{9}$') (id = 'A-4711')"),
    ]


def test_a_rule_of_a_field_is_not_asked_where_it_is_null() -> None:
    check = check_of(note="size(this) > 20")
    assert check(BARE) == ()
    assert [one.field for one in check(SALE)] == ["note"]


def tagged(schema: Any, *names: str) -> str:
    made = copy.deepcopy(schema)
    for field in made["fields"]:
        if field["name"] in names:
            field["confluent:tags"] = ["pii"]
    return json.dumps(made)


def test_a_tagged_value_is_shown_to_nobody() -> None:
    made = json.loads(tagged(SCHEMA, "note", "buyer"))
    made["confluent:rules"] = [
        {"name": "a", "expr": "this.note == 'x' && this.count > 0", "doc": "No  notes.\n"},
        {"name": "b", "expr": "this.buyer.age < 18"},
    ]
    text = json.dumps(made)
    check = compiled_rules(text, avro.parse(text))
    assert check is not None
    assert check(SALE) == [
        Violation("a", "note, count", "No notes. (note = ***, count = 3)"),
        Violation("b", "buyer.age", "must be this.buyer.age < 18 (buyer.age = ***)"),
    ]


LINE = {
    "type": "record",
    "name": "Line",
    "confluent:rules": [{"name": "some", "expr": "this.count > 0", "doc": "some are ordered"}],
    "fields": [
        {"name": "count", "type": "int"},
        {"name": "within", "type": {"type": "array", "items": "shop.Line"}, "default": []},
    ],
}
NOTE = {"type": "record", "name": "Note", "fields": [{"name": "text", "type": "string"}]}
WEIGHT = {
    "type": "record",
    "name": "Weight",
    "fields": [
        {
            "name": "kg",
            "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
            "confluent:rules": [{"name": "light", "expr": "this < 0.1"}],
        }
    ],
}


def test_rules_are_found_however_deep_they_are() -> None:
    fields = [
        {"name": "lines", "type": {"type": "array", "items": LINE}},
        {"name": "by", "type": {"type": "map", "values": ["null", "shop.Line"]}, "default": {}},
        {"name": "either", "type": ["null", NOTE, WEIGHT], "default": None},
    ]
    text = json.dumps({"type": "record", "name": "Order", "namespace": "shop", "fields": fields})
    check = compiled_rules(text, avro.parse(text))
    assert check is not None
    assert not check({"lines": [{"count": 1, "within": []}], "by": {"a": None}, "either": None})
    assert not check({"lines": []})
    bad = {"count": 0, "within": [{"count": 2}, {"count": 0}]}
    found = check({"lines": [bad], "by": {"a": bad}, "either": {"kg": Decimal("0.10")}})
    assert [(one.rule, one.field) for one in found] == [
        ("some", "lines[0].count"),
        ("some", "lines[0].within[1].count"),
        ("some", "by['a'].count"),
        ("some", "by['a'].within[1].count"),
        ("light", "either.kg"),
    ]
    assert len(check({"lines": [bad] * 1000})) == 100


def test_a_type_without_rules_costs_nothing() -> None:
    text = json.dumps(SCHEMA)
    assert compiled_rules(text, avro.parse(text)) is None


@pytest.mark.parametrize(
    ("expression", "at", "why"),
    [
        ("this.count + 1 > 2", 11, "'+' is not taken"),
        ("this.count > 1u", 13, "1u is no number"),
        ("this.count > 1 ? true : false", 15, "'?' is not taken"),
        ("this.tags.exists(t, t == 'x')", 10, "no function exists()"),
        ("int(this.id) > 3", 0, "no function int()"),
        ("count > 0", 0, "this.count?"),
        ("this.county > 0", 5, "no field county; it has id"),
        ("this.id > 3", 8, "a string and an int cannot be compared"),
        ("this.count < 1.5", 11, "a double is written 1.0"),
        ("this.count == null", 11, "an int is never null"),
        ("this.count", 5, "true or false is needed"),
        ("'a' && this.flag", 0, "true or false is needed"),
        ("0 < this.count < 5", 15, "two at a time"),
        ("this.count in [1, 'a']", 18, "the list has an int, and here a string"),
        ("this.count in this.tags", 11, "never in a list of a string"),
        ("this.id in 'abc'", 8, "looks into a list or a map"),
        ("has(this.note)", 0, "write this.note != null"),
        ("has(this)", 0, "takes a member"),
        ("size(this.count) > 1", 0, "has no size"),
        ("matches(this.id, 'a')", 0, "behind its value"),
        ("this.id.matches(this.note)", 21, "written out"),
        ("this.id.matches('(a')", 16, "no pattern of RE2"),
        ("this.id.matches('(?=a)b')", 16, "no pattern of RE2"),
        ("this.id.startsWith()", 8, "0 instead of 1"),
        ("this.id == 'a\\q'", 13, "is no escape"),
        ("this.id == 'a", 11, "is not taken"),
        ("this.id == b'a'", 11, "texts are"),
        ("this.buyer == this.buyer", 11, "cannot be compared"),
        ("-this.count < 0", 1, "before a number only"),
        ("this.total > 9223372036854775808", 13, "more than 64 bits"),
        ("this.count > 0)", 14, "not expected here"),
        ("(this.count > 0", 15, "the end is not expected"),
        ("", 0, "the end is not expected"),
        ("__import__('os')", 0, "no function __import__()"),
        ("this.__class__ == null", 5, "no field __class__"),
        ("this" + ".next" * 100 + ".flag", 205, "nested more than 40 deep"),
        ("this.number == ٣", 15, "'٣' is not taken"),
        ("!" * 50 + "this.flag", 41, "nested more than 40 deep"),
        ("(" * 50 + "true" + ")" * 50, 41, "nested more than 40 deep"),
        ("true " + "&& true" * 1000, MAX_LENGTH, "characters at the most"),
    ],
)
def test_what_is_not_in_the_subset_is_told_with_its_place(
    expression: str, at: int, why: str
) -> None:
    text = schema_with({"name": "r", "expr": expression})
    with pytest.raises(ValueError, match=r"a rule of shop\.Sale") as refused:
        compiled_rules(text, avro.parse(text))
    assert why in str(refused.value)
    assert f"character {at + 1} of" in str(refused.value)


@given(st.text("thisnow.()[]'\"\\!&|=<> 019ex-,/", max_size=60) | st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    place = 0
    try:
        parse(text)
    except RuleSyntaxError as error:
        place = error.at
    assert 0 <= place <= len(text)


def test_the_longest_expression_is_computed() -> None:
    expression = "this.flag" + "&&this.flag" * 180
    check = check_of(expression, "(" * 39 + "true" + ")" * 39)
    assert check(SALE) == ()
    assert len(check(BARE)) == 1


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("this.flag", "is a list of objects"),
        ({"name": "r"}, "is a list of objects"),
        ({"name": "r r", "expr": "true"}, "is no name"),
        ({"name": "r", "expr": "true", "message": "m"}, "'message' is none of doc"),
        ({"name": "r", "expr": "true", "doc": 3}, "is a list of objects"),
        ([{"name": "r", "expr": "true"}] * 2, "stands 2 times"),
        ([{"name": f"r{n}", "expr": "true"} for n in range(201)], "more than 200"),
    ],
)
def test_an_entry_that_is_no_rule_is_told(entry: Any, why: str) -> None:
    entries = entry if isinstance(entry, list) else [entry]
    text = json.dumps({**SCHEMA, "confluent:rules": entries})
    with pytest.raises(ValueError, match=why):
        compiled_rules(text, avro.parse(text))


def test_a_rule_that_stands_in_no_list_is_told() -> None:
    """Other clients read none of it, and a contract cannot be made of it."""
    text = json.dumps({**SCHEMA, "confluent:rules": {"name": "r", "expr": "true"}})
    with pytest.raises(ValueError, match="is a list of objects"):
        compiled_rules(text, avro.parse(text))


def test_a_type_with_a_wrong_rule_is_not_loaded() -> None:
    class Sale:
        pass

    with pytest.raises(ConfigurationError, match=r"Sale is wrong: a rule of shop\.Sale"):
        avro_type(Sale, schema_with({"name": "r", "expr": "this.x"}))
    avro_type(Sale, schema_with({"name": "r", "expr": "this.flag"}))
    assert schema_of(Sale).check is not None


@pytest.mark.parametrize(
    ("pattern", "is_pythons"),
    [
        ("^[A-Z]{2}-[0-9]+$", True),
        (r"^\d{4}-\d\d$", True),
        ("^[^@]+@[^@]+$", True),
        ("abc", True),
        ("^a?b*$", True),
        ("^[-a]+$", True),
        ("^[a-]+$", True),
        ("[A-Z]{2,20}-[0-9]{4}", True),
        ("a+", False),  # from each character on
        ("a{1,65}-", False),
        ("[a-z]{65}", False),
        (r"^[!-\~]*a*[!-\~]*a*$", False),
        (r"^[\d-a]$", False),
        ("^[a-z]*a$", False),
        ("^a*.$", False),
        ("^(a+)+$", False),
        ("^a|b$", False),
        ("^a+?$", False),
        (r"^\s+$", False),
        ("^[a&&b]+$", False),
        ("^ä*ö$", False),
        ("", False),
    ],
)
@settings(max_examples=30)
@given(text=st.text("aAbzZ09-@_ä\nö", max_size=12))
def test_a_pattern_says_what_re2_says(pattern: str, is_pythons: bool, text: str) -> None:
    import re2

    search = search_of(pattern)
    assert ("_Regexp" not in repr(search)) == is_pythons
    assert (search(text) is None) == (re2.search(pattern, text) is None)


def test_no_text_takes_long() -> None:
    """Python's own re would not be done with this before the sun is."""
    assert search_of("^(a+)+$")("a" * 100_000 + "b") is None
    assert search_of("^[a-z]*[a-y]*[a-x]*$")("a" * 100_000 + "B") is None
    assert search_of(r"^[!-\~]*a*[!-\~]*a*[!-\~]*a*$")("a" * 100_000 + "ö") is None
    assert search_of("a{0,999}b{0,999}c")(("a" * 999 + "b" * 999) * 400) is None


@pytest.mark.parametrize("pattern", [r"^[a-\d]$", "^[z-a]$", "^a{3,2}$"])
def test_a_pattern_that_is_none_is_told_as_one(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        search_of(pattern)
