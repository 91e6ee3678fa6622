"""Operations of a document in a flow: called, routed, refused, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openapi_erp import ERP_YAML, FLOW, NOTE
from trunkline.errors import ConfigurationError, Rejected, Unavailable
from trunkline.openapi.api import Api
from trunkline.openapi.pinned import pinned
from trunkline.streams.check.flows import check
from trunkline.streams.flow.definition import Flow
from trunkline.streams.flow.loading import load
from trunkline.testing import FlowTest


@pytest.fixture
def flow(tmp_path: Path) -> Flow[Any]:
    (tmp_path / "erp.yaml").write_text(ERP_YAML)
    return written(tmp_path, FLOW)


def written(home: Path, text: str) -> Flow[Any]:
    (home / "erp_flow.py").write_text(text)
    return load(str(home / "erp_flow.py"))


def by_name(flow: Flow[Any], name: str) -> Any:
    return next(one for one in flow.operations if one.name == name)


def test_they_are_operations_like_others(flow: Flow[Any]) -> None:
    assert not [*check(flow)]
    names = ["get_order", "createCreditNote", "patch_order", "search"]
    assert [one.name for one in flow.operations] == names
    assert [one.policy.verb for one in flow.operations] == ["get", "call", "call", "get"]
    assert by_name(flow, "createCreditNote").policy.cost == 5


def test_a_call_becomes_the_request_that_the_document_describes(flow: Flow[Any]) -> None:
    with FlowTest(flow) as test:
        system = test.destination(flow.destinations[0])
        call = test.call(by_name(flow, "createCreditNote"), {"orderId": "o/7", "body": NOTE})
        test.run_until_idle()
        assert test.call_state(call).state == "succeeded"
        assert test.call_state(call).key == "o/7"
        (asked,) = system.calls
        assert (asked.request.method, asked.request.path) == ("POST", "/orders/o%2F7/credit-notes")
        assert asked.request.json == NOTE


def test_a_query_is_asked_with_its_parameters(flow: Flow[Any]) -> None:
    with FlowTest(flow) as test:
        system = test.destination(flow.destinations[0])
        system.replies(lambda request: {"id": "7", "at": request.path, **request.headers})
        asked = {"orderId": "7", "expand": ["lines", "customer"], "X-Region": "eu"}
        said = test.ask(by_name(flow, "get_order"), asked)
        assert said["at"] == "/orders/7?expand=lines&expand=customer"
        assert said["X-Region"] == "eu"


def test_a_patch_has_its_media_type_and_is_looked_for_where_its_answer_was_lost(
    flow: Flow[Any],
) -> None:
    with FlowTest(flow) as test:
        system = test.destination(flow.destinations[0]).answers(Unavailable("no answer"))
        call = test.call(by_name(flow, "patch_order"), {"orderId": "7", "body": {"a": None}})
        test.run_until_idle()
        assert test.call_state(call).state == "succeeded"
        assert [one.request.method for one in system.calls] == ["PATCH", "GET"]
        sent = system.calls[0].request.headers
        assert sent["Content-Type"] == "application/merge-patch+json"


def test_a_request_that_the_document_does_not_allow_is_told_with_all_that_is_wrong(
    flow: Flow[Any],
) -> None:
    bad = {"amount": 0, "lines": [{"sku": "a", "colour": 1}]}
    with FlowTest(flow) as test, pytest.raises(Rejected) as refused:
        test.call(by_name(flow, "createCreditNote"), {"orderId": "7", "body": bad})
    told = str(refused.value)
    assert "#/body/amount" in told
    assert "#/body/lines/0/colour is not known" in told


def test_a_route_calls_one(flow: Flow[Any]) -> None:
    with FlowTest(flow) as test:
        system = test.destination(flow.destinations[0])
        for status in ("paid", "returned"):
            test.publish(flow.topics[0], {"id": "o-7", "status": status, "total_cents": 1250})
        test.run_until_idle()
        (asked,) = system.calls
        assert asked.request.path == "/orders/o-7/credit-notes"
        assert asked.request.json == {"amount": 12.5, "lines": []}
        assert [one.key for one in test.called] == ["o-7"]


WRONG = {
    "only=['getOrders']": "the document has no operation 'getOrders': did you mean 'getOrder'?",
    "only=['upload']": "cannot be imported: line 43: its body is multipart/form-data, and no JSON",
    "rename={'nothing': 'x'}": "rename=: no operation 'nothing' is imported",
    "rename={'getOrder': 'a-b'}": "'a-b' is no name of letters",
    "key={'createCreditNote': '/id'}": "there are orderId, body",
    "cost={'getOrder': 0}": "cost=: 0 is no whole number",
    "wait={'getOrder': '2h'}": "wait=:",
    "doubt={'createCreditNote': 'check:getOrder'}": "",
    "doubt={'search': 'ask'}, reads=['search']": "doubt=: get changes nothing",
    "doubt={'search': 'check:getOrder'}": "getOrder needs the parameter orderId, which it has not",
}


@pytest.mark.parametrize("arguments", WRONG)
def test_what_is_wrong_with_them_is_told_with_the_line(tmp_path: Path, arguments: str) -> None:
    (tmp_path / "erp.yaml").write_text(ERP_YAML)
    head, _, _ = FLOW.partition("api = flow")
    flow = written(
        tmp_path, f"{head}flow.import_operations(erp, OpenAPI('erp.yaml'), {arguments})\n"
    )
    told = [str(one) for one in check(flow) if not one.warning]
    if not WRONG[arguments]:
        assert told == []
        return
    assert any(WRONG[arguments] in one and "erp_flow.py:23" in one for one in told), told


def test_a_document_that_is_not_there_is_told_where_it_is_wanted(tmp_path: Path) -> None:
    head, _, _ = FLOW.partition("api = flow")
    line = "api = flow.import_operations(erp, OpenAPI('no.yaml'))\n"
    flow = written(tmp_path, head + line)
    assert any("no.yaml: it cannot be read" in str(one) for one in check(flow))
    with pytest.raises(ConfigurationError, match="no operation 'x': it cannot be read"):
        written(tmp_path, f"{head}{line}api['x']\n")


def test_a_pinned_file_that_was_changed_is_a_problem(tmp_path: Path) -> None:
    text = pinned(Api.of(ERP_YAML.encode()), "the ERP", ERP_YAML.encode())
    (tmp_path / "erp.yaml").write_text(text.replace("getOrder", "getOrders"))
    told = [str(one) for one in written(tmp_path, FLOW.partition("@flow.route")[0]).problems]
    assert any("it is not as it was imported from the ERP" in one for one in told)
