"""Vendors' own documents: imported within the time, and their operations really called."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest

from openapi_server import DocumentServer, request_of
from openapi_vendors import VENDORS, Vendor, document_of
from trunkline.connectors.base import HttpRequest
from trunkline.connectors.http import HttpSink
from trunkline.openapi.api import Api
from trunkline.openapi.calls import CallForm
from trunkline.openapi.pinned import origin_of, pinned
from trunkline.openapi.types import types_of
from trunkline.schemas.commerce import Order

MOST = 40
"""Operations of a vendor that are called: the validator of the server is slow."""


@pytest.mark.parametrize("vendor", VENDORS, ids=str)
def test_each_operation_of_a_vendor_is_imported_or_named(vendor: Vendor) -> None:
    body = document_of(vendor)
    started = time.process_time()
    api = Api.of(body)
    text = pinned(api, vendor.package, body)
    assert time.process_time() - started < 5
    assert (len(api.operations), len(api.unsupported)) == (vendor.imported, vendor.unsupported)
    assert all(one.reason and one.line > 1 for one in api.unsupported)
    again = Api.of(text.encode())
    assert origin_of(again)["source"] == vendor.package
    assert not again.unsupported
    assert pinned(again, "elsewhere", text.encode()) == text
    compile(types_of(again, again.operations), vendor.name, "exec")


@pytest.mark.parametrize("vendor", VENDORS, ids=str)
def test_operations_of_a_vendor_are_called_at_a_server_made_of_its_document(vendor: Vendor) -> None:
    api = Api.of(document_of(vendor))
    requests, left_out = [], []
    for one in api.operations:
        form = CallForm(api, one, one.name)
        envelope, errors = form.read(request_of(api, one))
        if errors:  # a pattern, say, of which no text is made up here
            left_out.append(one.name)
            continue
        made = form.rendered(envelope)
        requests.append((one.name, HttpRequest(made.method, made.path, made.body, made.headers)))
    assert len(requests) >= min(8, len(api.operations)), left_out
    with DocumentServer(api) as server:
        asyncio.run(called(server.url, [request for _, request in requests[:MOST]]))
    assert server.wrong == []
    # Two operations may have one path, but for its query: Anthropic's have.
    assert len(server.asked) == len(requests[:MOST])


async def called(url: str, requests: Sequence[HttpRequest]) -> None:
    """Each of them answered 2xx."""
    sink = HttpSink(url, Order)
    await sink.open()
    try:
        for number, request in enumerate(requests):
            reply = await sink.call(request, f"call-{number}")
            assert 200 <= reply.status < 300
    finally:
        await sink.close()
