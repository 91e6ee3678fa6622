"""``trunkline check --env``: connectors are built of the environment, and opened by nobody."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from trunkline import Delete, Event, Flow, Params
from trunkline.connectors.http import HttpSink
from trunkline.connectors.sql import SqlSink
from trunkline.connectors.webhook import WebhookSource
from trunkline.schemas.commerce import Order
from trunkline.streams.check.environment import check_environment


class Env(Params):
    url: str
    key: str = "id"
    path: str = "/orders/{key}"


def flow_to(build: Any, **route: Any) -> Flow[Env]:
    flow = Flow("built", Env)
    orders = flow.existing_topic("orders", Order)
    flow.destination(build)
    (erp,) = flow.destinations

    @flow.route(orders, to=erp, **route)
    def forward(order: Event[Order]) -> Order | Delete | None:
        return order.data

    return flow


def api(env: Env) -> HttpSink[Order]:
    return HttpSink(env.url, Order, path=env.path, delete_method="DELETE")


def api_without_deletes(env: Env) -> HttpSink[Order]:
    return HttpSink(env.url, Order, path=env.path)


def mart(env: Env) -> SqlSink[Order]:
    return SqlSink(env.url, Order, table="orders", key=env.key)


def another_type(env: Env) -> HttpSink[Order]:
    return HttpSink(env.url, Env)  # type: ignore[type-var]


def mistaken(env: Env) -> HttpSink[Order]:
    raise KeyError(env.url)


def problems(flow: Flow[Env], tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "prod.toml").write_text(f"[params]\n{text}\n")
    return list(map(str, check_environment([flow], "prod", root=tmp_path, environ={})))


@pytest.mark.parametrize(
    ("build", "text"),
    [(api, 'url = "http://erp"'), (mart, 'url = "postgresql://u:p@nowhere/x"')],
)
def test_right_connectors_are_built_and_not_opened(build: Any, text: str, tmp_path: Path) -> None:
    assert problems(flow_to(build), tmp_path, text) == []


@pytest.mark.parametrize(
    ("build", "text", "what"),
    [
        (
            api,
            'url = "http://erp"\npath = "/orders/{orderid}"',
            "destination api:.*no field orderid",
        ),
        (api, 'url = "erp"', "destination api: "),
        (mart, 'url = "sqlite://"\nkey = "order_id"', "destination mart:.*order_id"),
        (another_type, 'url = "http://erp"', "destination another_type: "),
        (mistaken, 'url = "http://erp"', "destination mistaken: KeyError: 'http://erp'"),
        (api_without_deletes, 'url = "http://erp"', "route forward: sends deletes, but"),
    ],
)
def test_a_wrong_one_is_told_with_file_and_line(
    build: Any, text: str, what: str, tmp_path: Path
) -> None:
    found, *_ = problems(flow_to(build), tmp_path, text)
    place, _, message = found.partition(": ")
    assert __file__.endswith(place.rpartition(":")[0])
    assert place.rpartition(":")[2].isdecimal()
    assert re.search(what, message)


def test_sources_are_built_too(tmp_path: Path) -> None:
    flow = Flow("built", Env)

    @flow.source
    def calls(env: Env) -> WebhookSource:
        return WebhookSource(port=70_000, key="id", token="t")

    (found,) = problems(flow, tmp_path, 'url = "http://erp"')
    assert "source calls: " in found
    assert "70000" in found.replace("_", "").replace(",", "")


def test_parameters_that_are_wrong_build_nothing(tmp_path: Path) -> None:
    (found,) = problems(flow_to(mistaken), tmp_path, "")
    assert "url" in found
    assert "KeyError" not in found
