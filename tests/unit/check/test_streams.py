"""What a source gives and no topic takes, and the reverse, told before the first record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from trunkline import Flow, Params, Record
from trunkline.connectors.base import PushSource
from trunkline.connectors.files import FileSource
from trunkline.connectors.postgres import PostgresCDC
from trunkline.connectors.webhook import WebhookSource
from trunkline.schemas.commerce import Order
from trunkline.streams.check.environment import check_environment
from trunkline.streams.check.flows import check

TABLES = ["customers", "orders", "audit_log"]


class Env(Params):
    dsn: str = "postgresql://shop"
    table: str = "orders"


def flow_of(build: Any, *taken: str | Sequence[str], ignore: str | Sequence[str] = ()) -> Flow[Env]:
    """A flow whose source ``build`` makes, with a topic for each of ``taken``."""
    flow = Flow("shop", Env)
    source = flow.source(ignore=ignore)(build)
    for number, streams in enumerate(taken):

        def made(record: Record) -> Order:
            raise NotImplementedError

        made.__name__ = f"topic_{number}"
        flow.topic(f"shop.t{number}", source=source, stream=streams)(made)
    return flow


def shop(env: Env) -> PostgresCDC:
    return PostgresCDC(env.dsn, TABLES)


def problems(flow: Flow[Env], env: str | None = "prod", root: Path = Path()) -> list[str]:
    if env is not None:
        (root / f"{env}.toml").write_text("")
    found = check_environment([flow], env, root=root, environ={})
    assert all(problem.place.file == __file__ and problem.place.line for problem in found)
    return [problem.message for problem in found]


RIGHT = [
    flow_of(shop, "public.customers", "public.orders", "public.audit_log"),
    flow_of(shop, ["public.customers", "public.orders"], ignore="public.audit_log"),
    flow_of(shop, "public.customers", ignore=["public.audit_log", "public.orders"]),
    flow_of(shop, ()),
    flow_of(shop, (), "public.customers"),
]


@pytest.mark.parametrize("flow", RIGHT)
@pytest.mark.parametrize("env", ["prod", None])
def test_each_stream_is_taken_or_ignored(flow: Flow[Env], env: str | None, tmp_path: Path) -> None:
    assert problems(flow, env, tmp_path) == []


@pytest.mark.parametrize("env", ["prod", None])
def test_a_misspelt_stream_is_told_once_with_the_nearest_name(
    env: str | None, tmp_path: Path
) -> None:
    flow = flow_of(shop, "public.custmers", "public.orders", ignore="public.audit_log")
    (found,) = problems(flow, env, tmp_path)
    assert found.startswith(
        "topic topic_0: stream='public.custmers': shop gives no such stream; did you mean "
        "'public.customers'?"
    )


def test_a_table_without_a_topic_is_told(tmp_path: Path) -> None:
    (found,) = problems(flow_of(shop, "public.customers", "public.orders"), root=tmp_path)
    assert found == (
        "source shop: no topic takes its stream 'public.audit_log': name it in stream= of one, or "
        "in ignore= of shop"
    )


def test_what_is_ignored_in_vain_is_told(tmp_path: Path) -> None:
    found = problems(flow_of(shop, (), ignore="audit_log"), root=tmp_path)
    assert [text.partition(";")[0] for text in found] == [
        "source shop: ignore='audit_log': it gives no such stream"
    ]
    assert "did you mean 'public.audit_log'?" in found[0]


def test_what_is_ignored_and_taken_is_told() -> None:
    found = check(flow_of(shop, "public.orders", ignore="public.orders"))
    assert "stream='public.orders': shop has it in ignore=, too" in "".join(map(str, found))


def test_a_stream_is_given_by_any_of_a_topics_sources(tmp_path: Path) -> None:
    flow = Flow("shop", Env)

    @flow.source
    def desk(env: Env) -> WebhookSource:
        return WebhookSource(port=8080, key="id", token="t")

    @flow.source
    def files(env: Env) -> FileSource:
        return FileSource("/in", stream="csv")

    @flow.topic("shop.orders", source=[desk, files], stream=["webhook", "cvs"])
    def orders(record: Record) -> Order:
        raise NotImplementedError

    assert [text.partition(";")[0] for text in problems(flow, root=tmp_path)] == [
        "source files: no topic takes its stream 'csv': name it in stream= of one, or in ignore= "
        "of files",
        "topic orders: stream='cvs': desk and files give no such stream",
    ]


class Unknowing(PushSource):
    async def start(self, publish: Any) -> None: ...
    async def stop(self) -> None: ...


def unknowing(env: Env) -> Unknowing:
    return Unknowing()


def of_a_parameter(env: Env) -> PostgresCDC:
    return PostgresCDC(env.dsn, ["customers", env.table])


@pytest.mark.parametrize(
    "flow",
    [
        flow_of(unknowing, "whatever", ignore="anything"),
        flow_of(of_a_parameter, "public.customers", "public.products"),
    ],
)
def test_what_is_not_known_before_is_no_mistake(flow: Flow[Env], tmp_path: Path) -> None:
    assert problems(flow, None, tmp_path) == []


def test_streams_that_are_a_text_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Unknowing, "streams", lambda self: "orders")
    (found,) = problems(flow_of(unknowing, "orders"), root=tmp_path)
    assert "source unknowing: its streams() is the text 'orders'" in found
