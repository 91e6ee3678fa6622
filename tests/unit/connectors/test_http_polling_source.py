"""HttpPolling against a real API: pages, what is new, limits, and what goes wrong."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from polled_api import Answered, Asked, PolledApi, polled_api
from polling_kit import changes, looks, once
from trunkline.connectors.base import Batch
from trunkline.connectors.http import (
    ClientCredentials,
    Cursor,
    HttpPolling,
    LinkHeader,
    Offset,
    PageNumber,
    Since,
)
from trunkline.connectors.schedule import Schedule
from trunkline.errors import AddressError, ConfigurationError, SourceError
from trunkline.params import Secret


@pytest.fixture
def api() -> Iterator[PolledApi]:
    with polled_api() as running:
        yield running


def polling(api: PolledApi, **more: Any) -> HttpPolling:
    given: dict[str, Any] = {"key": "id", "every": "20ms", **more}
    return HttpPolling(api.url + "/orders", **given)


def items(*ids: Any) -> list[dict[str, Any]]:
    return [{"id": id_} for id_ in ids]


def keys(batches: list[Batch]) -> list[str]:
    return [key for _, key in changes(batches)]


# Pages.


def test_the_link_header_leads_from_page_to_page(api: PolledApi) -> None:
    def handle(asked: Asked) -> Answered:
        page = int(asked.query.get("page", 1))
        following = f'</orders?page={page + 1}>; title="a, b"; rel="next last"'
        link = f'<{api.url}/x>; rel="prev", {following}'
        return Answered(items(page), headers={"Link": link} if page < 3 else {})

    api.handle = handle
    assert keys(once(polling(api, pages=LinkHeader()))) == ["1", "2", "3"]


def test_a_cursor_is_sent_back_or_followed(api: PolledApi) -> None:
    def handle(asked: Asked) -> Answered:
        page = int(asked.query.get("after", 1))
        following: Any = None if page == 3 else page + 1
        if asked.path == "/links" and following:
            following = f"/links?after={following}"
        return Answered({"data": {"list": items(page)}, "meta": {"next": following}})

    api.handle = handle
    read = polling(api, pages=Cursor("/meta/next", "after"), items="/data/list")
    assert keys(once(read)) == ["1", "2", "3"]
    links = HttpPolling(
        api.url + "/links", key="id", pages=Cursor("/meta/next"), items="/data/list", every="20ms"
    )
    assert keys(once(links)) == ["1", "2", "3"]


def test_numbered_pages_end_with_one_that_is_not_full(api: PolledApi) -> None:
    def handle(asked: Asked) -> Answered:
        page, size = int(asked.query["page"]), int(asked.query["per_page"])
        return Answered(items(*list("abcde")[(page - 1) * size : page * size]))

    api.handle = handle
    read = polling(api, pages=PageNumber(size=2, size_parameter="per_page"), params={"x": "y"})
    assert keys(once(read)) == list("abcde")
    assert all(asked.query["x"] == "y" for asked in api.asked)
    assert len(api.asked) == 3


def test_pages_that_go_in_circles_are_refused(api: PolledApi) -> None:
    api.handle = lambda asked: Answered({"list": items(1), "next": "again"})
    with pytest.raises(SourceError, match=r"read already|same page twice"):
        once(polling(api, pages=Cursor("next", "after"), items="list"))
    api.handle = lambda asked: Answered(items(1, 2))  # knows no page=
    with pytest.raises(SourceError, match="same page twice"):
        once(polling(api, pages=PageNumber(size=2)))
    api.handle = lambda asked: Answered(items(asked.query["page"]))
    with pytest.raises(SourceError, match="max_pages=7"):
        once(polling(api, pages=PageNumber(), max_pages=7))
    assert int(api.asked[-1].query["page"]) == 7


def test_credentials_go_to_no_other_host(api: PolledApi) -> None:
    with polled_api() as other:
        link = {"Link": f'<{other.url}/orders>; rel="next"'}
        api.handle = lambda asked: Answered(items(1), headers=link)
        with pytest.raises(SourceError, match="another host"):
            once(polling(api, pages=LinkHeader(), token="hunter2"))
        api.answers(Answered(status=302, headers={"Location": other.url}))
        with pytest.raises(SourceError, match="redirects are not followed"):
            once(polling(api, token="hunter2"))
        assert other.asked == []


# What is new.


def test_only_what_has_changed_is_asked_for_and_told(api: PolledApi) -> None:
    rows = [{"id": 1, "at": "2026-01-01T00:00:00Z"}, {"id": 2, "at": "2026-01-02T00:00:00+01:00"}]

    def handle(asked: Asked) -> Answered:
        if len(api.asked) == 3:
            rows.append({"id": 1, "at": "2026-01-03T00:00:00Z"})
        since = datetime.fromisoformat(asked.query["from"])
        return Answered([row for row in rows if datetime.fromisoformat(row["at"]) >= since])  # type: ignore[arg-type]

    api.handle = handle
    read = polling(api, since=Since("from", "at", first="2025-01-01T00:00:00Z", overlap="1h"))
    batches = looks(read, until=lambda got: len(changes(got)) == 3)
    assert changes(batches) == [("update", "1"), ("update", "2"), ("update", "1")]
    assert batches[0].records[1].time == datetime(2026, 1, 1, 23, tzinfo=UTC)
    sent = [asked.query["from"] for asked in api.asked]
    assert sent[:2] == ["2025-01-01T00:00:00Z", "2026-01-01T23:00:00+01:00"]


def test_a_time_in_the_future_is_not_asked_from(api: PolledApi) -> None:
    later = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    api.answers([{"id": 1, "at": "2026-01-01T00:00:00Z"}, {"id": 2, "at": later}])
    batches = looks(polling(api, since=Since("from", "at")), until=lambda got: len(got) == 2)
    assert keys(batches) == ["1", "2"]
    assert [asked.query.get("from") for asked in api.asked[:2]] == [None, "2026-01-01T00:00:00Z"]


def test_a_list_is_compared_with_what_it_was(api: PolledApi) -> None:
    row = lambda id_, n: {"id": id_, "n": n}  # noqa: E731
    api.answers([row(1, 1), row(2, 1)], [row(2, 2), row(3, 1)])
    batches = looks(polling(api), until=lambda got: ("delete", "1") in changes(got))
    assert changes(batches) == [
        *[("snapshot", "1"), ("snapshot", "2")],
        *[("update", "2"), ("create", "3")],
        ("delete", "1"),
    ]
    assert len(api.asked) == 3, "a delete is told when it is missing in two looks in a row"


def test_what_a_page_shifted_out_of_one_look_is_no_delete(api: PolledApi) -> None:
    api.answers(items(1, 2, 3), items(1, 3), items(1, 2, 3))
    batches = looks(polling(api), until=lambda got: len(got) == 4)
    assert changes(batches) == [("snapshot", "1"), ("snapshot", "2"), ("snapshot", "3")]


def test_an_unchanged_list_costs_no_body(api: PolledApi) -> None:
    def handle(asked: Asked) -> Answered:
        if asked.headers.get("if-none-match") == '"v1"' and len(api.asked) < 4:
            return Answered(status=304)
        tag = '"v1"' if len(api.asked) < 4 else '"v2"'
        return Answered(items(len(api.asked)), headers={"ETag": tag, "Last-Modified": "then"})

    api.handle = handle
    (first,) = once(polling(api))
    position = json.loads(json.dumps(first.position))
    batches = looks(polling(api), position, until=lambda got: bool(changes(got)))
    assert changes(batches) == [("create", "4")]
    assert [asked.headers.get("if-none-match") for asked in api.asked] == [None, *['"v1"'] * 3]
    assert api.asked[1].headers["if-modified-since"] == "then"


def test_a_list_of_several_pages_is_asked_for_without_a_validator(api: PolledApi) -> None:
    def handle(asked: Asked) -> Answered:
        return Answered(items(asked.query["page"]) * 2, headers={"ETag": '"v1"'})

    api.handle = lambda asked: (
        handle(asked) if int(asked.query["page"]) < 3 else Answered([], headers={"ETag": '"v1"'})
    )
    looks(polling(api, pages=PageNumber()), until=lambda got: len(got) >= 6)
    assert all("if-none-match" not in asked.headers for asked in api.asked)


@pytest.mark.parametrize("seed", range(6))
def test_it_adds_up_wherever_it_is_killed(api: PolledApi, seed: int) -> None:
    """What was read behind the last stored position is read again, by a new source."""
    chance, there, told, ids = random.Random(seed), dict[str, int](), dict[str, int](), []
    by_since, number = seed % 2 == 1, 0

    def handle(asked: Asked) -> Answered:
        at, since = int(asked.query["offset"]), int(asked.query.get("since", 0))
        rows = [{"id": key, "n": n} for key, n in there.items() if n >= since]
        return Answered(rows[at : at + 3])

    api.handle = handle
    position = None
    for last in [*[False] * 10, True]:
        for _ in range(chance.randrange(1, 12)):
            number, key = number + 1, f"k{chance.randrange(40)}"
            there.pop(key, None)
            if by_since or chance.random() < 0.7:
                there[key] = number
        stored = chance.randrange(1, 6)  # batches that Kafka gets before the worker is killed
        whole = lambda got: told == there  # noqa: E731
        some = lambda got, most=stored: got[-1].current or len(got) == most  # noqa: E731
        since = Since("since", "n") if by_since else None
        source = polling(api, pages=Offset(size=3), since=since, batch=2, max_deleted=1)
        stop = threading.Event()
        got: list[Batch] = []
        for batch in source.read(position, stop):
            got.append(batch)
            for record in batch.records:
                ids.append(record.id)
                if record.change == "delete":
                    del told[record.key]
                else:
                    told[record.key] = record.data["n"]
            position = json.loads(json.dumps(batch.position))
            if (whole if last else some)(got):
                stop.set()
        source.close()
    assert told == there
    assert len(set(ids)) == len(ids)


def test_a_page_that_is_known_no_more_begins_the_look_again(api: PolledApi) -> None:
    def handle(asked: Asked) -> Answered:
        cursor = asked.query.get("after")
        if cursor == "b" and len(api.asked) > 1:
            return Answered({"error": "expired"}, status=410)
        number = {None: 1, "b": 2, "c": 2}[cursor]
        following = {None: "b" if len(api.asked) == 1 else "c"}.get(cursor)
        return Answered({"list": [{"id": number, "n": number}], "next": following})

    api.handle = handle
    given: dict[str, Any] = {"pages": Cursor("next", "after"), "items": "list"}
    since = Since("since", "n")
    (first,) = looks(polling(api, since=since, **given), until=lambda got: len(got) == 1)
    rest = once(polling(api, since=since, **given), first.position)
    assert (keys([first]), keys(rest)) == (["1"], ["2"])


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
