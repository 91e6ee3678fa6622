"""``--where``: what it understands, what it refuses and where."""

from __future__ import annotations

from typing import Any

import pytest

from trunkline.errors import ConfigurationError, RegistryUnavailable
from trunkline.event import Event
from trunkline.streams.replay.predicate import Predicate

DATA = {"total": 120, "status": "paid", "items": [1, 2], "address": {"city": "Lyon"}, "note": None}


def event(data: dict[str, Any] | None = None, **headers: str) -> Event[Any]:
    named = {"ce_type": "order.paid", **headers}
    return Event(
        key="EU-7",
        value=b"x" if data is not None else None,
        headers=[(name, text.encode()) for name, text in named.items()],
        decode=lambda value: data,
    )


@pytest.mark.parametrize(
    "text",
    [
        "data.total > 100",
        "data['total'] > 100 and type == 'order.paid'",
        "key.startswith('EU-') or data.total < 0",
        "not headers.tl_change == 'delete'",
        "headers['ce_type'] in 'order.paid, order.new'",
        "data.address.city == 'Lyon'",
        "len(data.items) == 2",
        "data.note is None",
        "'status' in data",
        "'big' if data.total > 100 else ''",
    ],
)
def test_what_is_true_matches(text: str) -> None:
    where = Predicate(text)
    assert where.matches(event(DATA)), where.problem
    assert where.problem == ""


@pytest.mark.parametrize("text", ["data.total > 200", "key == 'US-1'", "headers.none == 'x'"])
def test_what_is_false_does_not(text: str) -> None:
    where = Predicate(text)
    assert not where.matches(event(DATA))
    assert where.problem == ""


@pytest.mark.parametrize("text", ["data.nothing == 1", "data.note > 3", "data.status + 1 == 2"])
def test_what_cannot_be_evaluated_does_not_match_and_says_why(text: str) -> None:
    where = Predicate(text)
    assert not where.matches(event(DATA))
    assert text in where.problem


def test_an_event_without_data_matches_no_question_about_data() -> None:
    assert not Predicate("data.total > 1 or key == 'EU-7'").matches(event(None))
    assert Predicate("key == 'EU-7'").matches(event(None))


def test_a_schema_that_cannot_be_asked_for_is_no_answer() -> None:
    def decode(value: bytes) -> Any:
        raise RegistryUnavailable("down")

    with pytest.raises(RegistryUnavailable):
        Predicate("data.total > 1").matches(Event(key="k", value=b"x", headers=[], decode=decode))


@pytest.mark.parametrize(
    ("text", "character", "says"),
    [
        ("data.total >", 13, "invalid syntax"),
        ("total > 100", 1, "'total' is not known"),
        ("key == paid", 8, "text stands in quotes"),
        ("(lambda: 1)()", 2, "Lambda"),
        ("key == 'a' and [x for x in data]", 16, "ListComp"),
        ("round(10**300, -10**8) > 0", 7, "Pow"),
        ("key.zfill(10**9) == ''", 1, "'zfill' cannot be called"),
        ("key.ljust(9) == ''", 1, "'ljust' cannot be called"),
        ("key.format(1)", 1, "'format' cannot be called"),
        ("f'{key:>99999999}' == ''", 1, "JoinedStr"),
        ("1 << 99999999", 1, "LShift"),
        ("len(key, key=1) == 1", 1, "plain arguments"),
        ("len(*data.items)", 1, "plain arguments"),
        ("data.f(1)", 1, "'f' cannot be called"),
        ("str(key)(1)", 1, "cannot be called"),
        ("__import__('os')", 1, "'__import__' is not known"),
    ],
)
def test_what_is_no_condition_is_refused_with_its_place(
    text: str, character: int, says: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Predicate(text)
    message = str(refused.value)
    assert f"character {character}:" in message
    assert says in message
    assert text in message


@pytest.mark.parametrize(
    "text",
    [
        "not " * 3_000 + "key",
        "not " * 400 + "key",
        "(" * 150 + "key" + ")" * 150 + " == " + "-" * 40 + "1",
        "key == 'a' or " * 120 + "key == 'b'",
        "key == '" + "x" * 3_000 + "'",
        "key == '\0'",
        "[" * 90 + "1" + "]" * 90 + " == key",
    ],
)
def test_what_is_too_long_or_too_deep_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--where"):
        Predicate(text)


@pytest.mark.parametrize(
    "text",
    [
        "round(data.total, -100000000) > 0",
        "key * 1000000000 == ''",
        "1000000000 * key == ''",
        "data.items * 1000000000 == ''",
        "'%1000000000d' % data.total == ''",
        "data.long + data.long == ''",
    ],
)
def test_nothing_of_any_size_is_made(text: str) -> None:
    where = Predicate(text)
    assert not where.matches(event({**DATA, "long": "x" * 90_000}))
    assert where.problem


@pytest.mark.parametrize(
    "text",
    [
        "data.status in ['new', 'paid']",
        "data.total in (1, 120)",
        "key not in {'a', 'b'}",
        "data.items == [1, 2]",
        "-data.total % 7 != 0 and round(data.total / 7, 2) == 17.14",
        "key.lower().split('-')[1] == '7'",
        "key[:3] == 'EU-'",
    ],
)
def test_lists_numbers_and_texts(text: str) -> None:
    where = Predicate(text)
    assert where.matches(event(DATA)), where.problem


@pytest.mark.parametrize("text", ["data.__class__", "key.__len__", "''.__class__.__mro__"])
def test_nothing_leads_out_of_the_event(text: str) -> None:
    where = Predicate(text)
    assert not where.matches(event(DATA))
    assert where.problem
