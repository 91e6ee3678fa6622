"""Two gateways, a worker and a system, for all tests of a module."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from gateway_kit import FLOW, Caller, GatewayProcess, System, World, client_key, wait_ready
from trunkline.params import Backbone
from worker_kit import Feed, Workers, environ_of


@pytest.fixture(scope="package")
def world(
    bootstrap: str, registry_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    home, name = tmp_path_factory.mktemp("gateway"), f"shop-{uuid.uuid4().hex[:8]}"
    backbone = Backbone(bootstrap=bootstrap, registry=registry_url)
    (home / "shop.py").write_text(FLOW)
    access = home / "access.toml"
    key, other = client_key(access, "crm", "erp/*"), client_key(access, "wms", "erp/hurry_*")
    with access.open("a") as file:  # its table is the last one
        file.write('\n[clients.boss]\nroles = ["order-lead"]\nresolve = ["erp/*"]\n')
        file.write('publish = ["*.received"]\n')
    lead = client_key(access, "boss")
    with System() as erp:
        feed = Feed(backbone, f"{name}.orders")
        environ = environ_of(backbone, erp_url=erp.url, flow=name, topic=feed.topic)
        workers = Workers(home / "shop.py", home, environ)
        gateways = [
            GatewayProcess(home / "shop.py", access, environ, home / f"gateway{n}.log")
            for n in range(2)
        ]
        with workers, gateways[0], gateways[1]:
            workers.started("route,deliver")
            wait_ready(*gateways)
            callers = [Caller(gateway.url, key) for gateway in gateways]
            stranger, boss = Caller(gateways[0].url, other), Caller(gateways[1].url, lead)
            yield World(
                *(erp, gateways, callers, stranger, boss, workers, feed, access, name, backbone)
            )
            for caller in (*callers, stranger, boss):
                caller.close()
            for gateway in gateways:
                gateway.stop()
            workers.stop()
