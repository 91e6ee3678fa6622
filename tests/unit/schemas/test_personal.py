"""Fields that are tagged as personal: what is in them is shown to nobody."""

from __future__ import annotations

import json
import logging
import re
import traceback
from datetime import UTC, date, datetime
from typing import Any, TypedDict

import pytest

from trunkline import Event, Flow, Params, Record, Rejected, Retry
from trunkline.admin.dead_letters import decoded, decoded_value
from trunkline.connectors.http import HttpSink
from trunkline.connectors.webhook import WebhookSource
from trunkline.errors import DataError, RuleViolations, TableUnreadable, Unavailable, Violation
from trunkline.kafka.messages import StoredMessage
from trunkline.schemas import avro
from trunkline.schemas.codec import Codec
from trunkline.schemas.personal import (
    hide_in,
    hider,
    holds_hidden,
    is_personal,
    personal_names,
    personal_texts,
    texts_of_names,
)
from trunkline.schemas.types import avro_type
from trunkline.streams.dlq.letters import DeadLetter
from trunkline.streams.publish.publisher import Publisher, TopicMapping
from trunkline.testing import FlowTest
from trunkline.testing.registry import MemoryRegistry

MAIL, NAME = "anna@example.com", "Anna Ö"
NODE = {
    "type": "record",
    "name": "Node",
    "fields": [
        {"name": "secret", "type": "string", "confluent:tags": ["Sensitive"]},
        {"name": "inner", "type": {"type": "array", "items": "t.Node"}, "default": []},
    ],
}
SCHEMA = {
    "type": "record",
    "name": "T",
    "namespace": "t",
    "fields": [
        {"name": "id", "type": "string", "confluent:tags": ["PUBLIC"]},
        {"name": "mail", "type": ["null", "string"], "confluent:tags": ["pii", "other"]},
        {
            "name": "who",
            "type": {"type": "map", "values": "long"},
            "confluent:tags": ["PRIVATE"],
        },
        {"name": "nodes", "type": {"type": "map", "values": ["null", NODE]}},
    ],
}


def test_what_is_tagged_is_hidden_however_deep() -> None:
    parsed = avro.parse(json.dumps(SCHEMA))
    node = {"secret": "xyz-1", "inner": [{"secret": "xyz-2", "inner": []}]}
    value = {"id": "7", "mail": MAIL, "who": {"b": 4711}, "nodes": {"a": node, "n": None}}
    before = json.dumps(value)
    hide, texts = hider(parsed), personal_texts(parsed)
    assert hide is not None
    assert texts is not None
    shown = hide(value)
    assert shown == {
        "id": "7",
        "mail": "***",
        "who": "***",
        "nodes": {"a": {"secret": "***", "inner": [{"secret": "***", "inner": []}]}, "n": None},
    }
    assert json.dumps(value) == before
    assert texts(value) == [MAIL, "xyz-1", "xyz-2", "4711"] or set(texts(value)) == {
        *(MAIL, "4711", "xyz-1", "xyz-2")
    }
    assert hide({**value, "mail": None})["mail"] is None
    assert (holds_hidden(shown), holds_hidden(value)) == (True, False)
    assert personal_names(parsed) == {"mail", "who", "secret"}


def test_a_type_without_tags_costs_nothing() -> None:
    parsed = avro.parse('{"type": "record", "name": "T", "fields": []}')
    assert hider(parsed) is personal_texts(parsed) is None


@pytest.mark.parametrize("tags", [None, [], "x", ["PUBLIC"], 3, [["PII"]]])
def test_other_tags_hide_nothing(tags: Any) -> None:
    assert not is_personal({"confluent:tags": tags})


class _Odd(Exception):
    def __str__(self) -> str:
        return f"odd {MAIL}"


class _OddData(_Odd, DataError):
    pass


def test_no_error_tells_it_nor_what_it_was_raised_from() -> None:
    inner = KeyError(MAIL)
    outer = Rejected(f"{MAIL} is taken", status=422, cause=f"PUT /{MAIL}")
    outer.__cause__ = inner
    outer.add_note(f"of {MAIL}")
    assert hide_in(outer, [MAIL]) is outer
    assert (str(outer), outer.cause, outer.status) == ("*** is taken", "PUT /***", 422)
    assert (inner.args, outer.__notes__) == (("***",), ["of ***"])
    broken = RuleViolations("t.T", [Violation("r", "note", f"note = {MAIL}")])
    hide_in(broken, [MAIL])
    assert MAIL not in str(broken) + str(broken.violations)
    assert str(hide_in(ValueError("short"), [])) == "short"
    data = hide_in(ValueError({"mail": MAIL}), [MAIL])
    assert str(data) == "***"


def test_an_error_that_cannot_be_changed_is_replaced_by_one_of_its_kind() -> None:
    assert type(hide_in(_Odd(), [MAIL])) is RuntimeError
    assert type(hide_in(_OddData(), [MAIL])) is DataError
    down = Unavailable("down", after=7.0)
    down.__cause__ = _Odd()
    replaced = hide_in(down, [MAIL])
    assert isinstance(replaced, Unavailable)
    assert replaced.after == 7.0
    assert MAIL not in str(replaced)


def test_an_error_keeps_its_kind_though_code_has_the_text() -> None:
    """A traceback shows ``Event`` in its lines, and Eve is a name."""

    def of_event_of_Eve() -> None:
        raise TableUnreadable("the disk is broken")

    with pytest.raises(TableUnreadable) as raised:
        of_event_of_Eve()
    assert hide_in(raised.value, ["Eve"]) is raised.value
    assert str(raised.value) == "the disk is broken"


def test_an_error_that_is_fine_itself_stays_without_what_cannot_be_changed() -> None:
    broken = RuleViolations("t.T", [Violation("r", f"by[{MAIL}]", "must be")])
    broken.__cause__ = _Odd()
    assert hide_in(broken, [MAIL]) is broken
    assert broken.violations == (Violation("r", "by[***]", "must be"),)
    assert MAIL not in "".join(traceback.format_exception(broken))
    group = ExceptionGroup("all failed", [ValueError(MAIL)])
    assert MAIL not in "".join(traceback.format_exception(hide_in(group, [MAIL])))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("Müller", r'answered 422: {"error": "M\u00fcller is blocked"}'),
        ("a b/ü", "GET /people?name=a%20b%2F%C3%BC answered 404"),
        ("O'Brien & \n", "no such name: " + repr("O'Brien & \n")),
        (date(1980, 5, 17), KeyError(date(1980, 5, 17))),
        (datetime(1980, 5, 17, 7, tzinfo=UTC), "born 1980-05-17T07:00:00+00:00"),
    ],
)
def test_it_is_taken_out_in_the_forms_in_which_systems_repeat_it(value: Any, said: Any) -> None:
    error = said if isinstance(said, Exception) else Rejected(said)
    hidden = hide_in(error, texts_of_names({"mail": [value]}, frozenset({"mail"})))
    assert "***" in str(hidden)
    assert not re.search("ller|%C3|Brien|1980", repr(hidden))


def test_deep_json_is_looked_through() -> None:
    deep: Any = MAIL
    for _ in range(5_000):
        deep = [deep]
    assert texts_of_names({"a": {"mail": deep}}, frozenset({"mail"})) == [MAIL]
    assert str(hide_in(ValueError(deep), [MAIL])) == "***"


class Person(TypedDict):
    id: str
    mail: str


avro_type(
    Person,
    json.dumps(
        {
            "type": "record",
            "name": "t.Person",
            "fields": [
                {"name": "id", "type": "string"},
                {"name": "mail", "type": "string", "confluent:tags": ["PII"]},
            ],
        }
    ),
)


class Env(Params):
    url: str = "http://127.0.0.1:1"


flow = Flow("people", Env)


@flow.source
def shop(env: Env) -> WebhookSource:
    return WebhookSource(port=0, key="id")


@flow.topic("people.canonical", source=shop)
def people(row: Record) -> Person:
    if row.data["mail"] == "bad@example.com":
        raise ValueError(f"no mail: {row.data['mail']}")
    return Person(id=row.key, mail=row.data["mail"])


@flow.destination(retry=Retry("1s"))
def crm(env: Env) -> HttpSink[Person]:
    return HttpSink(env.url, Person)


@flow.route(people, to=crm)
def to_crm(person: Event[Person]) -> Person:
    if person.data["mail"] == "route@example.com":
        raise KeyError(person.data["mail"])
    return Person(person.data)


def test_what_a_route_or_a_sink_raises_is_told_without_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def answers(events: Any) -> None:
        raise Rejected(f"422 {{'error': '{events[0].data['mail']} is taken'}}")

    caplog.set_level(logging.DEBUG)
    with FlowTest(flow) as test:
        test.destination(crm).does(answers)
        test.publish(people, Person(id="1", mail=MAIL))
        test.publish(people, Person(id="2", mail="route@example.com"))
        test.run_until_idle()
        letters = test.dead_letters(crm)
    told = [value for letter in letters for name, value in letter.headers if name != "tl_from"]
    assert {letter.stage for letter in letters} == {"route", "deliver"}
    assert b"example.com" not in b"".join(told)
    assert "example.com" not in caplog.text
    assert any(letter.message == "422 {'error': '*** is taken'}" for letter in letters)


def test_a_sources_letters_are_shown_without_it(caplog: pytest.LogCaptureFixture) -> None:
    registry = MemoryRegistry()
    encode = Codec(registry).encoder(Person, "people-value", register=True)
    output = TopicMapping("people", people.function, encode, personal=frozenset({"mail"}))
    publisher = Publisher("/people/shop", "dlq", [output])
    result = publisher.publish([Record(key="1", data={"mail": "bad@example.com", "n": 1})])
    (made,) = result.records
    assert b"bad@example.com" in (made.value or b"")  # as it was, to be sent again
    letter = DeadLetter.of(StoredMessage("dlq", 0, 0, made.key, made.value, made.headers))
    assert "example.com" not in str(letter.headers) + caplog.text
    assert letter.message == "no mail: ***"
    shown = decoded(letter, Codec(registry).shown_decoder())
    assert shown.data["data"] == {"mail": "***", "n": 1}
    assert shown.hidden


def test_an_event_is_shown_without_it_and_read_with_it() -> None:
    codec = Codec(MemoryRegistry())
    value = codec.encoder(Person, "people-value", register=True)(Person(id="1", mail=MAIL))
    shown = decoded_value(value, codec.shown_decoder())
    assert (shown.data, shown.hidden) == ({"id": "1", "mail": "***"}, True)
    assert codec.decode_any(value)["mail"] == MAIL
