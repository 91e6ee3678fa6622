"""``trunkline check`` and ``trunkline graph`` as a person calls them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from trunkline.cli import app

FLOW = """from trunkline import Event, Flow, Params, Record, Retry, Secret
from trunkline.connectors import base, http, webhook; Sink, Source = base.Sink, base.Source
from trunkline.schemas.commerce import Order


class Env(Params):
    orders_url: str
    orders_token: Secret
    orders_limit: int = 10


flow = Flow("orders", Env)


@flow.source
def shop(env: Env) -> Source:
    return webhook.WebhookSource(port=0, key="id")


@flow.topic("commerce.orders", source=shop)
def orders(row: Record) -> Order:
    raise AssertionError("a check calls nothing")


@flow.destination(retry=Retry("10s", "1m"))
def crm(env: Env) -> Sink[Order]:
    return http.HttpSink(env.orders_url, Order, token=env.orders_token)


@flow.route(orders, to=crm)
def history(order: Event[Order]) -> Order:
    return order.data
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    for field in ("ORDERS_URL", "ORDERS_TOKEN", "ORDERS_LIMIT"):
        name = f"TRUNKLINE_PARAMS_{field}"
        monkeypatch.delenv(name, raising=False)
    Path("orders.py").write_text(FLOW)
    Path("environments").mkdir()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def line(of: str) -> int:
    """The line of the flow file that contains this text after its imports."""
    lines = enumerate(FLOW.splitlines(), 1)
    return next(number for number, text in lines if of in text and "import" not in text)


def environment(text: str) -> None:
    Path("environments/prod.toml").write_text(text)


def test_a_right_flow_is_one_line() -> None:
    done = run("check", "orders.py")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == "orders: ok (1 source, 1 topic, 1 route, 1 destination)\n"


def test_a_retry_that_is_wrong_is_shown_with_the_problems_of_the_other_files() -> None:
    Path("a.py").write_text(FLOW.replace('"10s", "1m"', '"1m", "10s"'))
    Path("b.py").write_text(FLOW.replace("to=crm)", 'to=crm, only="order.paid")'))
    done = run("check", "a.py", "b.py", "c.py", "orders.py")
    assert done.exit_code == 1
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    shrinking = "Retry('1m', '10s'): each delay must be longer than the one before"
    assert lines[0] == f"a.py:{line('Retry(')}: {shrinking}"
    assert lines[1].startswith(
        f"b.py:{line('@flow.route')}: route history: only='order.paid' never matches"
    )
    assert lines[2] == "c.py: there is no such file"
    assert lines[3].startswith("orders.py:12: flow 'orders': the flow at b.py:12 has the same name")
    assert lines[4:] == ["4 problems found"]


def test_a_policy_that_refuses_its_arguments_is_shown_at_the_line_of_the_flow() -> None:
    """Also where a class that Python generated the constructor of stands in between."""
    policy = 'retry=Retry("10s", "1m"), system=System("erp", rate="-1/s")'
    text = FLOW.replace('retry=Retry("10s", "1m")', policy)
    Path("a.py").write_text(text.replace("Secret\n", "Secret, System\n", 1))
    done = run("check", "a.py")
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        f"a.py:{line('Retry(')}: '-1/s' is not a rate: write 50/s, 100/m, 5000/h or 10000/d",
        "1 problem found",
    ]


def test_a_warning_is_shown_and_is_no_failure() -> None:
    more = '\nmore = flow.existing_topic("commerce.more", Order)\n'
    Path("orders.py").write_text(FLOW + more)
    done = run("check", "orders.py")
    assert done.exit_code == 0
    assert done.stderr == (
        f"orders.py:{len(FLOW.splitlines()) + 2}: warning: "
        "topic commerce.more: no route of this flow reads it\n"
    )


def test_the_parameters_of_an_environment_are_right() -> None:
    environment('[params]\norders_url = "http://crm"\norders_token = "hush"\n')
    assert run("check", "orders.py", "--env", "prod").exit_code == 0


def test_parameters_are_shown_at_their_lines_and_without_values() -> None:
    environment(
        '[params]\norders_token = 17\norders_limit = "hush"\norders_urk = "hush"\n'
        '[trunkline]\nreplication = "hush"\nbotstrap = "hush"\n'
    )
    done = run("check", "orders.py", "--env", "prod")
    assert done.exit_code == 1
    toml = "environments/prod.toml"
    assert done.stderr.splitlines() == [
        f"{toml}:4: flow 'orders': parameter 'orders_urk' is unknown: take it out of [params]; "
        "what another flow has stands in [params.<flow>]",
        f"{toml}:6: parameter 'replication' is wrong: Input should be a valid integer, "
        "unable to parse string as an integer",
        f"{toml}:7: parameter 'botstrap' is unknown: take it out of [trunkline]",
        "orders.py:7: flow 'orders': parameter 'orders_url' is missing: "
        "set TRUNKLINE_PARAMS_ORDERS_URL or orders_url in [params]",
        "orders.py:8: flow 'orders': parameter 'orders_token' is wrong: a secret is text",
        "orders.py:9: flow 'orders': parameter 'orders_limit' is wrong: "
        "Input should be a valid integer, unable to parse string as an integer",
        "6 problems found",
    ]


def test_flows_that_share_an_environment() -> None:
    billing = FLOW.replace('Flow("orders"', 'Flow("billing"').replace("orders_limit", "account")
    Path("billing.py").write_text(billing)
    environment(
        '[params]\norders_url = "http://crm"\norders_token = "hush"\n'
        "[params.orders]\norders_limit = 3\n[params.billing]\naccount = 4\n"
    )
    assert run("check", "orders.py", "billing.py", "--env", "prod").exit_code == 0


def test_an_environment_that_is_not_there() -> None:
    environment("")
    done = run("check", "orders.py", "--env", "production")
    assert done.exit_code == 1
    expected = "environments/production.toml: there is no such environment (found: prod)"
    assert done.stderr.splitlines()[0] == expected


def test_an_environment_that_is_not_toml() -> None:
    environment("[params\n")
    done = run("check", "orders.py", "--env", "prod")
    assert done.exit_code == 1
    assert done.stderr.startswith("environments/prod.toml: not TOML: ")


def test_without_an_environment_the_process_environment_counts_once_it_sets_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRUNKLINE_PARAMS_ORDERS_URL", "http://crm")
    done = run("check", "orders.py")
    assert done.exit_code == 1
    assert "parameter 'orders_token' is missing" in done.stderr
    monkeypatch.setenv("TRUNKLINE_PARAMS_ORDERS_TOKEN", "hush")
    assert run("check", "orders.py").exit_code == 0


def test_graph_prints_a_tree() -> None:
    done = run("graph", "orders.py")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "flow orders"


def test_graph_prints_mermaid() -> None:
    done = run("graph", "orders.py", "--mermaid")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "flowchart LR"


def test_graph_of_a_file_that_is_not_there_is_an_error_of_ours() -> None:
    done = run("graph", "c.py")
    assert done.exit_code == 1
    assert str(done.exception) == "c.py: there is no such file"
