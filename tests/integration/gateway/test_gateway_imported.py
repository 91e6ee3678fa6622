"""Operations of a document and of a vendor's own, through a gateway, Kafka and a worker, to servers
that are made of the same documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway_kit import Caller, GatewayProcess, client_key, wait_ready
from openapi_erp import ERP_YAML, FLOW, NOTE
from openapi_server import DocumentServer, request_of
from openapi_vendors import VENDORS, document_of
from trunkline.openapi.api import Api
from trunkline.params import Backbone
from worker_kit import Workers, environ_of

pytestmark = pytest.mark.timeout(400)

VENDOR = """

class Both(Env):
    vendor_url: str


flow.params = Both


@flow.destination(retry=Retry("1s"))
def vendor(env: Both) -> HttpSink[Order]:
    return HttpSink(env.vendor_url, Order)


flow.import_operations(vendor, OpenAPI("vendor.json"))
"""


def test_what_a_document_describes_is_called_through_kafka(
    bootstrap: str, registry_url: str, tmp_path: Path, topic: Any
) -> None:
    directus = next(one for one in VENDORS if one.name == "Directus")
    (tmp_path / "vendor.json").write_bytes(document_of(directus))
    (tmp_path / "erp.yaml").write_text(ERP_YAML)
    (tmp_path / "imported.py").write_text(FLOW + VENDOR)
    access = tmp_path / "access.toml"
    key = client_key(access, "crm", "erp/*", "vendor/*")
    other = client_key(access, "wms", "erp/get_order")
    name, backbone = topic("imported"), Backbone(bootstrap=bootstrap, registry=registry_url)
    vendor_api = Api.of(document_of(directus))
    with DocumentServer(Api.of(ERP_YAML.encode())) as erp, DocumentServer(vendor_api) as vendor:
        urls = {"erp_url": erp.url, "vendor_url": vendor.url, "flow": name, "topic": f"{name}.o"}
        environ = environ_of(backbone, **urls)
        file, log = tmp_path / "imported.py", tmp_path / "gateway.log"
        workers = Workers(file, tmp_path, environ)
        with workers, GatewayProcess(file, access, environ, log) as gateway:
            workers.started("deliver")
            wait_ready(gateway)
            caller, stranger = Caller(gateway.url, key), Caller(gateway.url, other)
            commands_and_queries(caller, erp)
            described(caller, stranger)
            of_the_vendor(caller, vendor, vendor_api)
            caller.close()
            stranger.close()
            gateway.stop()
            workers.stop()
    assert erp.wrong == []
    assert vendor.wrong == []


def commands_and_queries(caller: Caller, erp: DocumentServer) -> None:
    request = {"orderId": "o/7", "body": NOTE}
    done = caller.post("createCreditNote", request, key="k-1")
    assert done.status_code in (200, 201, 204), done.text
    again = caller.post("createCreditNote", {"body": NOTE, "orderId": "o/7"}, key="k-1")
    assert again.headers["Idempotent-Replayed"] == "true"
    changed = caller.post("createCreditNote", {**request, "orderId": "o/8"}, key="k-1")
    assert changed.status_code == 422
    assert erp.asked == ["createCreditNote"]
    read = caller.post("get_order", {"orderId": "7", "expand": ["lines"]})
    assert read.status_code == 200
    assert read.json()["id"] == "a/b c"
    bad = {"body": {"amount": 0, "lines": [{"sku": "a", "x": 1}]}, "other": 1}
    refused = caller.post("createCreditNote", bad, key="k-2")
    assert refused.status_code == 422
    pointers = {one["pointer"] for one in refused.json()["errors"]}
    wanted = {"#/orderId", "#/other", "#/body/amount", "#/body/lines/0/x"}
    assert pointers == wanted, refused.text
    assert erp.asked == ["createCreditNote", "getOrder"]


def described(caller: Caller, stranger: Caller) -> None:
    mine = caller.get("/openapi.json").content
    api = Api.of(mine)
    ids = {one.id for one in api.operations}
    assert {"erp.createCreditNote", "erp.get_order", "vendor.createPreset"} - ids == set()
    assert not api.unsupported
    path = "/v1/systems/erp/operations/"
    paths = json.loads(stranger.get("/openapi.json").content)["paths"]
    assert [one for one in paths if one.startswith("/v1/systems")] == [f"{path}get_order"]
    preview = "createCreditNote?validate_only=true"
    shown = caller.post(preview, {"orderId": "7", "body": NOTE}, key="k-3").json()
    assert (shown["method"], shown["path"]) == ("POST", "/orders/7/credit-notes")
    assert shown["body"] == NOTE


def of_the_vendor(caller: Caller, vendor: DocumentServer, api: Api) -> None:
    names = ("createPreset", "getItem", "updateItem", "deleteItem", "getCollections")
    chosen = [one for one in api.operations if one.name in names]
    assert len(chosen) >= 3
    for one in chosen:
        request = request_of(api, one)
        answer = caller.post(one.name, request, system="vendor", key=f"v-{one.name}")
        assert answer.status_code in (200, 201, 204), (one.name, answer.text)
    assert vendor.asked == [one.name for one in chosen]
