"""HttpPolling against a real API: pages, what is new, and where it goes on."""

from __future__ import annotations

import json
import random
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from polled_api import Answered, Asked, PolledApi, items, polled_api, polling
from polling_kit import changes, keys, looks, once
from trunkline.connectors.base import Batch
from trunkline.connectors.http import (
    Cursor,
    HttpPolling,
    LinkHeader,
    Offset,
    PageNumber,
    Since,
)
from trunkline.errors import SourceError

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
    modified = "Sun, 01 Mar 2026 12:00:00 GMT"

    def handle(asked: Asked) -> Answered:
        if asked.headers.get("if-none-match") == '"v1"' and len(api.asked) < 4:
            return Answered(status=304)
        tag = '"v1"' if len(api.asked) < 4 else '"v2"'
        return Answered(items(len(api.asked)), headers={"ETag": tag, "Last-Modified": modified})

    api.handle = handle
    (first,) = once(polling(api))
    position = json.loads(json.dumps(first.position))
    batches = looks(polling(api), position, until=lambda got: bool(changes(got)))
    assert changes(batches) == [("create", "4")]
    assert [asked.headers.get("if-none-match") for asked in api.asked] == [None, *['"v1"'] * 3]
    assert api.asked[1].headers["if-modified-since"] == modified


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
