"""Logs as JSON: one object a line, whatever is in it, and the ids of the event it is about."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from trunkline import logs
from trunkline.event import Event, trace_id
from trunkline.tasks import inheriting, working_for

TRACE = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, as it was afterwards."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    quiet = {name: logging.getLogger(name).level for name in ("faust", "mode", "httpx", "asyncio")}
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)
    for name, before in quiet.items():
        logging.getLogger(name).setLevel(before)


def written(message: str = "it happened", *args: Any, **more: Any) -> dict[str, Any]:
    """The line of one record."""
    record = logging.getLogger("trunkline.test").makeRecord(
        "trunkline.test", logging.WARNING, __file__, 1, message, args, more.pop("exc", None), **more
    )
    line = logs.JsonFormatter().format(record)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


def event(traceparent: str) -> Event[Any]:
    headers = [("ce_id", b"id-1"), ("traceparent", traceparent.encode())]
    return Event(key="k", value=None, headers=headers, decode=lambda _: None)


def test_a_line_says_when_who_how_bad_and_what() -> None:
    line = written("%d of %s", 3, "orders")
    assert line.pop("time").endswith("+00:00")
    assert line.pop("pid") == os.getpid()
    assert line == {"level": "warning", "logger": "trunkline.test", "message": "3 of orders"}


def test_what_is_extra_stands_beside() -> None:
    line = written(extra={"topics": ["orders"], "lag": 7})
    assert (line["topics"], line["lag"]) == (["orders"], 7)
    assert "color_message" not in written(extra={"color_message": "\033[36mstarted"})


def test_a_line_about_an_event_has_its_id_and_its_traces() -> None:
    line = written(extra=logs.about(event(TRACE)))
    assert line["event_id"] == "id-1"
    assert line["trace_id"] == "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize("traceparent", ["", "garbage", "00-abc"])
def test_without_a_trace_context_there_is_no_trace_id(traceparent: str) -> None:
    assert trace_id(traceparent) == ""
    assert logs.about(event(traceparent)) == {"event_id": "id-1", "trace_id": ""}


def test_a_traceback_stands_in_its_line() -> None:
    try:
        raise ValueError("no\nway")
    except ValueError:
        line = written(exc=sys.exc_info())
    assert line["traceback"].startswith("Traceback")
    assert line["traceback"].endswith("ValueError: no\nway")


@pytest.mark.parametrize("odd", [2**70, "half \ud800", {7: "key"}, b"\xff", object(), {1, 2}])
def test_no_value_costs_the_line(odd: Any) -> None:
    assert written(extra={"odd": odd})["message"] == "it happened"


def test_json_is_the_form_where_nobody_watches(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.set_up()
    logging.getLogger("trunkline.test").info("hello")
    assert json.loads(capsys.readouterr().err)["message"] == "hello"


def test_each_line_names_its_flow_and_its_process(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """The workers of several flows write to one place."""
    logs.set_up("json")
    logs.speak_for("shop")
    logging.getLogger("trunkline.test").info("hello")
    line = json.loads(capsys.readouterr().err)
    assert (line["flow"], line["pid"]) == ("shop", os.getpid())
    logs.set_up("text")
    logs.speak_for("shop")


def test_each_line_names_the_part_that_it_is_about(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also those of threads that work for it, and of no other part."""
    logs.set_up("json")
    logs.speak_for("shop")
    log = logging.getLogger("trunkline.test")
    with working_for("destination", "erp"):
        log.info("of erp")
        thread = threading.Thread(target=inheriting(lambda: log.info("of its thread")))
    thread.start()
    thread.join()
    log.info("of nobody")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line.get("destination") for line in lines] == ["erp", "erp", None]
    assert {line["worker"] for line in lines} == {logs.worker_name()}


def test_text_begins_with_whose_it_is(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.set_up("text")
    logs.speak_for("shop")
    with working_for("source", "till"):
        logging.getLogger("trunkline.test").info("hello")
    whose = f"shop.till [{logs.worker_name()}]"
    assert capsys.readouterr().err.endswith(f" I {whose} trunkline.test: hello\n")


def test_text_is_for_a_person(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("text")
    logging.getLogger("trunkline.test").warning("hello")
    assert capsys.readouterr().err.endswith(" W trunkline.test: hello\n")


def test_the_level_is_the_users_but_others_talk_less(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.set_up("text", "debug")
    for name in ("faust.app", "mode.services", "aiohttp.access", "httpx"):
        logging.getLogger(name).info("about my insides")
    logging.getLogger("trunkline.test").debug("in detail")
    assert capsys.readouterr().err.strip().endswith("in detail")


def test_faust_speaks_under_its_own_name() -> None:
    from trunkline.streams.worker.faust_app import App

    assert App.logger.name.startswith("faust")


def test_lines_of_a_kind_are_bounded_and_what_is_left_out_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 100.0
    log, budget = logging.getLogger("budget"), logs.LineBudget(lambda: now, lines=3, interval=10)
    assert [budget.allows(log, "erp") for _ in range(50)] == [True] * 3 + [False] * 47
    assert budget.allows(log, "crm"), "another kind has lines of its own"
    now = 112.0
    assert budget.allows(log, "erp")
    assert caplog.messages == ["erp: 47 more in 12 s, not logged"]
