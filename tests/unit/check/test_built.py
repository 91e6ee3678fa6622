"""``trunkline check --env``: connectors are built of the environment, and opened by nobody."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import pytest

from trunkline import Delete, Event, Flow, Params, Secret
from trunkline.connectors.http import ClientCredentials, HttpSink
from trunkline.connectors.postgres import PostgresCDC
from trunkline.connectors.sql import SqlSink
from trunkline.connectors.webhook import WebhookSource
from trunkline.errors import ConfigurationError
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


def test_parameters_that_are_wrong_are_told_and_not_what_fails_for_lack_of_them(
    tmp_path: Path,
) -> None:
    (found,) = problems(flow_to(mistaken), tmp_path, "")
    assert "url" in found
    assert "KeyError" not in found


def test_a_table_that_nobody_reads_hides_no_other_mistake(tmp_path: Path) -> None:
    (tmp_path / "prod.toml").write_text(
        "[trunkline]\nbotstrap = 'k:9092'\n\n[alert]\nslack = 'x'\n\n[params]\nprot = 8080\n"
    )
    found = check_environment([flow_to(api)], "prod", root=tmp_path, environ={})
    told = {(problem.place.line, problem.message.split(":")[0]) for problem in found}
    assert (4, "'alert' is read by nobody") in told
    assert {line for line, _ in told} >= {2, 4, 8}


# Without an environment: of stand-ins.


class Unset(Params):
    url: str
    host: str
    mart: Secret
    token: Secret
    region: Literal["eu", "us"]
    schema_name: str
    timeout: float
    size: int
    secure: bool
    backup: str = ""
    delete: str = ""
    folders: list[str]


def built_of_stand_ins(build: Any, **route: Any) -> list[str]:
    flow = Flow("built", Unset)
    orders = flow.existing_topic("orders", Order)
    flow.destination(build)
    (erp,) = flow.destinations

    @flow.route(orders, to=erp, **route)
    def forward(order: Event[Order]) -> Order | None:
        return order.data

    return list(map(str, check_environment([flow], None, environ={})))


def http_right(env: Unset) -> HttpSink[Order]:
    return HttpSink(env.url, Order, path="/orders/{key}", token=env.token, timeout=env.timeout)


def http_of_parts(env: Unset) -> HttpSink[Order]:
    oauth = ClientCredentials(f"{env.url}/token", "me", env.token)
    return HttpSink(f"https://{env.host}:{env.size}", Order, oauth=oauth)


def http_of_a_choice(env: Unset) -> HttpSink[Order]:
    return HttpSink({"eu": "https://eu", "us": "https://us"}[env.region], Order)


def sql_right(env: Unset) -> SqlSink[Order]:
    return SqlSink(env.mart, Order, table=f"{env.schema_name}.orders", max_batch=env.size)


def sql_by_a_parameter(env: Unset) -> SqlSink[Order]:
    return SqlSink(env.mart, Order, table="orders", key=env.schema_name)


def unknown_to_the_builder(env: Unset) -> HttpSink[Order]:
    if env.host not in ("erp", "crm"):
        raise ConfigurationError("host= must be erp or crm")
    return HttpSink(env.url, Order)


def a_number_in_a_text(env: Unset) -> HttpSink[Order]:
    return HttpSink(env.url, Order, timeout=int(env.host))


def an_address_that_may_be_left_out(env: Unset) -> HttpSink[Order]:
    return HttpSink(env.backup, Order)


def deletes_by_a_parameter(env: Unset) -> HttpSink[Order]:
    return HttpSink(env.url, Order, delete_method=env.delete or None)  # type: ignore[arg-type]


RIGHT = [
    http_right,
    http_of_parts,
    http_of_a_choice,
    sql_right,
    sql_by_a_parameter,
    unknown_to_the_builder,
    a_number_in_a_text,
    an_address_that_may_be_left_out,
    deletes_by_a_parameter,
]


@pytest.mark.parametrize("build", RIGHT)
def test_what_a_stand_in_alone_makes_fail_is_no_problem(build: Any) -> None:
    route = {"otherwise": "delete"} if build is deletes_by_a_parameter else {}
    assert built_of_stand_ins(build, **route) == []


def wrong_path(env: Unset) -> HttpSink[Order]:
    return HttpSink(env.url, Order, path="/orders/{orderid}", token=env.token)


def wrong_key(env: Unset) -> SqlSink[Order]:
    return SqlSink(env.mart, Order, table="orders", key="order_id")


def wrong_column(env: Unset) -> SqlSink[Order]:
    return SqlSink(env.mart, Order, table="orders", columns={"id": "id", "nmae": "name"})


def wrong_owner(env: Unset) -> SqlSink[Order]:
    return SqlSink(env.mart, Order, table="orders", owner="id", key=("id", "nr"))


def wrong_type(env: Unset) -> HttpSink[Order]:
    return HttpSink(env.url, Unset)  # type: ignore[type-var]


def wrong_parameter(env: Unset) -> HttpSink[Order]:
    return HttpSink(env.ulr, Order)  # type: ignore[attr-defined]


def wrong_argument(env: Unset) -> HttpSink[Order]:
    return HttpSink(env.url, Order, pth="/")  # type: ignore[call-arg]


WRONG = [
    (wrong_path, "no field orderid"),
    (wrong_key, "key order_id is no column"),
    (wrong_column, "columns= names nmae"),
    (wrong_owner, "owner= needs a field that lists rows"),
    (wrong_type, "made for|schema"),
    (wrong_parameter, "'Unset' object has no attribute 'ulr'"),
    (wrong_argument, "unexpected keyword argument 'pth'"),
]


@pytest.mark.parametrize(("build", "what"), WRONG)
def test_what_is_wrong_whatever_the_parameters_are_is_told(build: Any, what: str) -> None:
    (found,) = built_of_stand_ins(build)
    place, _, message = found.partition(": ")
    assert __file__.endswith(place.rpartition(":")[0])
    assert place.rpartition(":")[2].isdecimal()
    assert message.startswith(f"destination {build.__name__}: ")
    assert re.search(what, message)


def test_deletes_that_no_parameter_makes_the_sink_take_are_told() -> None:
    (found,) = built_of_stand_ins(http_right, otherwise="delete")
    assert "route forward: sends deletes, but" in found


def test_sources_are_built_of_stand_ins_too() -> None:
    flow = Flow("built", Unset)

    @flow.source
    def shop(env: Unset) -> PostgresCDC:
        return PostgresCDC(env.mart, tables=["orders", "orders"])

    @flow.source
    def right(env: Unset) -> PostgresCDC:
        return PostgresCDC(env.mart, tables=["orders"])

    found = list(map(str, check_environment([flow], None, environ={})))
    assert len(found) == 1
    assert re.search("source shop: .*twice", found[0])
