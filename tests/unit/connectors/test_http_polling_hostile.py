"""HttpPolling and an API that bites: bombs, echoes of secrets, addresses as cursors."""

from __future__ import annotations

import base64
import gzip
import json
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote

import pytest

from polled_api import Answered, Asked, PolledApi, polled_api
from polling_kit import changes, looks, once
from trunkline.connectors.http import Cursor, HttpPolling, LinkHeader, Since
from trunkline.connectors.http.polling.pages import of_same_host
from trunkline.connectors.schedule import Schedule
from trunkline.errors import ConfigurationError, SourceError
from trunkline.params import Secret


@pytest.fixture
def api() -> Iterator[PolledApi]:
    with polled_api() as running:
        yield running


def polling(api: PolledApi, **more: Any) -> HttpPolling:
    return HttpPolling(api.url + "/orders", **{"key": "id", "every": "20ms", **more})


def test_a_body_that_is_packed_twice_is_never_unpacked(api: PolledApi) -> None:
    """800 bytes that are 100 MB: httpx would have them all in memory before they are counted."""
    once_packed = gzip.compress(bytes(100_000_000))
    bomb = gzip.compress(once_packed)
    for body, coding in ((bomb, "gzip, gzip"), (once_packed, "gzip")):
        api.answers(Answered(body, headers={"Content-Encoding": coding}))
        tracemalloc.start()
        try:
            with pytest.raises(SourceError, match=r"no other way is read|more than max_body="):
                once(polling(api, max_body=1_000_000))
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
        finally:
            tracemalloc.stop()
    api.answers(Answered(gzip.compress(b'[{"id": 7}]'), headers={"Content-Encoding": "gzip"}))
    assert changes(once(polling(api))) == [("snapshot", "7")]


def test_a_secret_with_a_line_feed_is_refused_and_not_shown(api: PolledApi) -> None:
    for wrong in (
        {"token": Secret("hunter2\n")},
        {"headers": {"X-Key": Secret("hunter2\r\nA: b")}},
    ):
        with pytest.raises(ConfigurationError, match="line break") as raised:
            polling(api, **wrong)
        assert "hunter2" not in str(raised.value)


def test_what_an_api_echoes_of_secrets_is_masked_in_every_form(api: PolledApi) -> None:
    def handle(asked: Asked) -> Answered:
        said = f"{asked.headers.get('authorization')} {quote(asked.query['key'], safe='')}"
        return Answered(said.encode(), status=400)

    api.handle = handle
    with pytest.raises(SourceError) as raised:
        once(polling(api, auth=("me", "pass-x"), params={"key": Secret("a/b+c d")}))
    pair = base64.b64encode(b"me:pass-x").decode()
    assert not [word for word in (pair, "a%2Fb%2Bc%20d") if word in str(raised.value)]


def test_a_key_that_stands_in_the_next_pages_url_stays_out_of_the_position(api: PolledApi) -> None:
    def handle(asked: Asked) -> Answered:
        assert asked.query["key"] == "hunter2"
        page = int(asked.query.get("page", 0))
        link = f'</orders?page={page + 1}&key=hunter2&size=9>; rel="next"'
        return Answered([{"id": page, "at": page}], headers={"Link": link} if page < 2 else {})

    api.handle = handle
    params = {"key": Secret("hunter2"), "size": "1", "page": "0"}
    batches = once(polling(api, pages=LinkHeader(), params=params, since=Since("since", "at")))
    assert [key for _, key in changes(batches)] == ["0", "1", "2"], "the link's page= counts"
    assert "page=1" in json.dumps(batches[0].position)
    assert "hunter2" not in json.dumps([batch.position for batch in batches])
    assert [asked.query["size"] for asked in api.asked] == ["1", "9", "9"]


def test_a_cursor_is_no_address_whatever_its_parameter_is_called(api: PolledApi) -> None:
    with polled_api() as other:
        api.handle = lambda asked: Answered(
            {"list": [{"id": len(api.asked)}], "next": None if "url" in asked.query else other.url}
        )
        given: dict[str, Any] = {"pages": Cursor("next", "url"), "items": "list"}
        once(polling(api, token="hunter2", **given))
        assert [asked.query.get("url") for asked in api.asked] == [None, other.url]
        assert other.asked == []


def test_a_cursor_is_asked_for_with_what_the_look_is_about(api: PolledApi) -> None:
    def handle(asked: Asked) -> Answered:
        at = int(asked.query.get("since", 0)) + int(asked.query.get("after", 0))
        return Answered({"list": [{"id": at, "n": 5}], "next": None if at % 5 else 1})

    api.handle = handle
    read = polling(api, pages=Cursor("next", "after"), items="list", since=Since("since", "n"))
    looks(read, until=lambda _: len(api.asked) >= 4)
    sent = [(asked.query.get("since"), asked.query.get("after")) for asked in api.asked[:4]]
    assert sent == [(None, None), (None, "1"), ("5", None), ("5", "1")]


def test_the_same_host_is_the_same_with_its_usual_port() -> None:
    assert of_same_host("https://h:443/b", "https://h/a") == {"": "https://h:443/b"}
    for other in ("https://h:444/b", "http://h/b", "http://h:443/b", "https://h.evil/b"):
        with pytest.raises(SourceError, match="another host"):
            of_same_host(other, "https://h/a")


def test_a_full_first_page_hides_no_second_one_behind_its_validator(api: PolledApi) -> None:
    """The body, and so its ETag, is the same when a second page comes; only the Link is another."""

    def handle(asked: Asked) -> Answered:
        if "page" in asked.query:
            return Answered([{"id": 2}])
        if asked.headers.get("if-none-match"):
            return Answered(status=304)
        link = {"Link": '</orders?page=2>; rel="next"'} if len(api.asked) > 1 else {}
        return Answered([{"id": 1}], headers={"ETag": '"full"', **link})

    api.handle = handle
    batches = looks(polling(api, pages=LinkHeader()), until=lambda got: len(changes(got)) == 2)
    assert changes(batches) == [("snapshot", "1"), ("create", "2")]


def test_a_time_of_modification_of_just_now_is_no_validator(api: PolledApi) -> None:
    """It tells seconds: what changes twice within one has the same."""
    now = datetime.now(UTC)
    for age, asked_with in ((timedelta(), False), (timedelta(hours=1), True)):
        api.asked.clear()
        modified = format_datetime(now - age, usegmt=True)
        api.answers(Answered([{"id": 1}], headers={"Last-Modified": modified}))
        looks(polling(api), until=lambda _: len(api.asked) >= 2)
        assert ("if-modified-since" in api.asked[1].headers) == asked_with


def test_a_number_with_more_digits_than_a_float_is_asked_from(api: PolledApi) -> None:
    body = b'[{"id": 1, "n": 1700000000.1234567890123}, {"id": 2, "n": 1e999999}]'
    api.answers(Answered(body))
    since = Since("since", "n")
    first = once(polling(api, since=since))
    looks(polling(api, since=since), first[-1].position, until=lambda _: len(api.asked) >= 2)
    assert api.asked[1].query["since"] == "1700000000.1234567890123"


def test_a_clock_that_was_ahead_holds_up_no_look() -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    later = now + timedelta(days=365)
    assert Schedule("1m").wait(later, now) == 0
    assert Schedule("*/15 * * * *").wait(later, now) == 900
