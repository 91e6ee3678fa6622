"""Documents of all kinds: each operation is imported, or named with its reason and line."""

from __future__ import annotations

import time

import pytest

from openapi_corpus import CASES, NOT_READ, Case
from trunkline.errors import ConfigurationError
from trunkline.openapi.api import Api
from trunkline.openapi.calls import CallForm
from trunkline.openapi.pinned import origin_of, pinned
from trunkline.openapi.types import types_of


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_operation_is_imported_or_named_with_its_reason_and_line(case: Case) -> None:
    api = Api.of(case.text.encode())
    assert tuple(one.name for one in api.operations) == case.names
    said = {one.line: one.reason for one in api.unsupported}
    assert said.keys() == case.refused.keys(), said
    for line, reason in case.refused.items():
        assert reason in said[line]


@pytest.mark.parametrize("case", [c for c in CASES if c.good or c.bad], ids=str)
def test_a_request_is_held_against_the_document(case: Case) -> None:
    api = Api.of(case.text.encode())
    form = CallForm(api, api.operations[0], "op")
    for request in case.good:
        made, errors = form.read(request)
        assert not errors, (request, errors)
        assert form.rendered(made).path
    for request in case.bad:
        assert form.read(request)[1], request


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_pinned_is_the_same_when_it_is_imported_again(case: Case) -> None:
    api = Api.of(case.text.encode())
    text = pinned(api, "source", case.text.encode())
    again = Api.of(text.encode())
    assert origin_of(again)["source"] == "source"
    assert not again.unsupported
    assert pinned(again, "elsewhere", text.encode()) == text
    compile(types_of(again, again.operations), "types", "exec")


@pytest.mark.parametrize("about", NOT_READ)
def test_what_is_no_document_is_told_and_nothing_else_happens(about: str) -> None:
    text, told = NOT_READ[about]
    started = time.process_time()
    with pytest.raises(ConfigurationError, match=f"(?s).*{told.replace('*', '.')}"):
        Api.of(text if isinstance(text, bytes) else text.encode())
    assert time.process_time() - started < 5


def test_a_pinned_file_that_was_changed_by_hand_is_refused() -> None:
    body = CASES[0].text.encode()
    text = pinned(Api.of(body), "source", body)
    with pytest.raises(ConfigurationError, match="not as it was imported from source"):
        origin_of(Api.of(text.replace('"post"', '"put"').encode()))


def test_a_schema_may_be_deep_but_not_without_end() -> None:
    deep = '{"not":' * 40 + "true" + "}" * 40
    case = CASES[0].text.replace("{type: [string, 'null']}", deep)
    assert [one.name for one in Api.of(case.encode()).operations] == ["op"]
