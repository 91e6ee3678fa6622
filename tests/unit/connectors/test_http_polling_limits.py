"""HttpPolling against a real API: limits, what goes wrong, who asks and when."""

from __future__ import annotations

import json
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from polled_api import Answered, Asked, PolledApi, items, polling
from polling_kit import keys, looks, once
from trunkline.connectors.http import (
    ClientCredentials,
    HttpPolling,
    PageNumber,
    Since,
)
from trunkline.connectors.schedule import Schedule
from trunkline.errors import AddressError, ConfigurationError, SourceError
from trunkline.params import Secret

# Limits, and what goes wrong.


def test_a_retry_after_is_waited_for_within_bounds(api: PolledApi) -> None:
    api.answers(Answered(status=429, headers={"Retry-After": "1"}), items(1))
    began = time.monotonic()
    assert keys(once(polling(api))) == ["1"]
    assert time.monotonic() - began >= 1
    api.answers(Answered(status=503, headers={"Retry-After": "99999999999999"}))
    with pytest.raises(SourceError, match=r"answered 503, and asks to wait: 9+ \(max_wait= is 600"):
        once(polling(api))


def test_a_stop_waits_for_no_retry_after_and_no_server(api: PolledApi) -> None:
    api.answers(Answered(status=429, headers={"Retry-After": "60"}))
    assert seconds_to_stop(polling(api)) < 1
    hanging = threading.Event()

    def hang(_: Asked) -> Answered:
        hanging.wait(5)
        return Answered([])

    api.handle = hang
    assert seconds_to_stop(polling(api)) < 1
    hanging.set()


def seconds_to_stop(source: HttpPolling) -> float:
    stop = threading.Event()

    def run() -> None:
        assert list(source.read(None, stop)) == []
        source.close()

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.3)
    assert thread.is_alive()
    stop.set()
    began = time.monotonic()
    thread.join()
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answered(status=500), "answered 500"),
        (Answered({"error": "no"}, status=403), "answered 403: .*no"),
        (Answered(b"<html>"), "cannot be read"),
        (Answered({"data": []}), "leads to dict, not to a list"),
        (Answered(b"[" + b" " * 2_000_000 + b"]"), "more than max_body=1000000"),
    ],
)
def test_an_answer_that_is_none_is_a_source_error(
    api: PolledApi, answer: Answered, said: str
) -> None:
    api.answers(answer)
    with pytest.raises(SourceError, match=said):
        once(polling(api, max_body=1_000_000))
    (finding,) = polling(api, max_body=1_000_000).check()
    assert finding.what


def test_an_answer_that_drips_is_cut_off(api: PolledApi) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                try:
                    for _ in range(100):
                        connection.sendall(b" ")
                        time.sleep(0.05)
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with pytest.raises(SourceError, match="longer than timeout=1 s"):
            once(HttpPolling(url, key="id", timeout="1s", every="20ms"))
        thread.join()


def test_items_without_a_key_are_dead_letters_once(api: PolledApi) -> None:
    api.answers([{"id": 1}, {"name": "x"}, "text", {"id": None}, {"id": True}])
    batches = looks(polling(api), until=lambda got: len(got) == 3)
    records = [record for batch in batches for record in batch.records]
    assert [record.key for record in records] == ["1", "", "", "", "true"]
    assert [bad.raw for r in records if (bad := r.unreadable)] == [
        b'{"name":"x"}',
        b'"text"',
        b'{"id":null}',
    ]


def test_numbers_lose_no_digit(api: PolledApi) -> None:
    api.answers(Answered(b'[{"id": 12345678901234567890123, "x": 0.12345678901234567890}]'))
    (batch,) = once(polling(api))
    assert batch.records[0].key == "12345678901234567890123"
    assert str(batch.records[0].data["x"]) == "0.12345678901234567890"


def test_a_function_may_read_bodies_that_are_no_json(api: PolledApi) -> None:
    api.answers(Answered(b"a;1\nb;2\n"))

    def rows(body: bytes) -> list[dict[str, Any]]:
        fields = (line.split(";") for line in body.decode().splitlines())
        return [{"id": id_, "n": int(n)} for id_, n in fields]

    (batch,) = once(polling(api, items=rows))
    assert [record.data for record in batch.records] == [{"id": "a", "n": 1}, {"id": "b", "n": 2}]


# Who asks.


def test_keys_and_passwords_are_sent_and_never_shown(api: PolledApi) -> None:
    def handle(asked: Asked) -> Answered:
        return Answered(json.dumps([asked.query, dict(asked.headers)]).encode(), status=400)

    api.handle = handle
    secret = {"params": {"key": Secret("param-x")}, "headers": {"X-Key": Secret("header-x")}}
    with pytest.raises(SourceError) as raised:
        once(polling(api, token=Secret("token-x"), **secret))
    asked = api.asked[0]
    assert (asked.query["key"], asked.headers["x-key"]) == ("param-x", "header-x")
    assert asked.headers["authorization"] == "Bearer token-x"
    assert not [word for word in ("param-x", "header-x", "token-x") if word in str(raised.value)]


def test_a_token_is_asked_for_kept_and_renewed_when_it_is_refused(api: PolledApi) -> None:
    given = iter(("first", "second", "third", "fourth", "fifth"))
    valid = {"Bearer second"}

    def handle(asked: Asked) -> Answered:
        if asked.path == "/token":
            assert asked.body == b"grant_type=client_credentials&scope=read"
            return Answered({"access_token": next(given), "expires_in": 3600})
        allowed = asked.headers.get("authorization") in valid
        return Answered(items(1)) if allowed else Answered(status=401)

    api.handle = handle
    oauth = ClientCredentials(f"{api.url}/token", "me", "hunter2", scope="read")
    looks(polling(api, oauth=oauth), until=lambda got: len(got) == 3)
    assert [asked.path for asked in api.asked] == [
        *["/token", "/orders", "/token", "/orders"],
        *["/orders"] * 2,
    ]
    valid.clear()
    with pytest.raises(SourceError, match="answered 401"):
        once(polling(api, oauth=oauth))


# When.


def test_a_schedule_is_a_time_or_a_cron_expression() -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    hourly, quarterly = Schedule("1h"), Schedule("*/15 * * * *")
    assert hourly.wait(None, noon) == 0
    assert hourly.wait(noon - timedelta(minutes=20), noon) == 2400
    assert quarterly.wait(None, noon) == 900
    assert quarterly.wait(noon - timedelta(minutes=1), noon) == 0
    assert quarterly.wait(noon - timedelta(hours=5), noon) == 0, "what was missed is made up for"
    rome = Schedule("30 2 * * *", "Europe/Rome")
    assert rome.wait(noon, noon) == timedelta(hours=13, minutes=30).total_seconds()
    for wrong in ("soon", "0s", "99 * * * *"):
        with pytest.raises(ConfigurationError):
            Schedule(wrong)
    with pytest.raises(ConfigurationError, match="zone"):
        Schedule("1m", "Mars/Olympus")


def test_a_restart_does_not_look_before_its_time(api: PolledApi) -> None:
    api.answers(items(1))
    (first,) = once(polling(api, every="1h"))
    (empty,) = once(polling(api, every="1h"), first.position)
    assert (empty.records, len(api.asked)) == ([], 1)


def test_what_cannot_be_is_refused(api: PolledApi) -> None:
    for url in ("ftp://x", "http://x/?a=b"):
        with pytest.raises(AddressError):
            HttpPolling(url, key="id")
    with pytest.raises(ConfigurationError, match="one of token="):
        polling(api, token="a", auth=("b", "c"))
    with pytest.raises(ConfigurationError, match="key="):
        polling(api, key=[])
    with pytest.raises(ConfigurationError, match="size"):
        PageNumber(size_parameter="limit")
    api.answers(items(1))
    position = once(polling(api))[-1].position
    with pytest.raises(ConfigurationError, match="reset"):
        once(polling(api, since=Since("a", "b")), position)
