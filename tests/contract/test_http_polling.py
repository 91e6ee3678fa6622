"""HttpPolling passes the acceptance suite on a real API: of a log, and of a list of entities."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from polled_api import Answered, Asked, PolledApi, polled_api
from trunkline.connectors.contract import SourceContract
from trunkline.connectors.http import HttpPolling, Offset, Since
from trunkline.local.ports import free_port


class TestHttpPollingSince(SourceContract):
    """An API that lists changes: each has a number, and stays."""

    deletes = False
    secrets = ("hunter2",)
    api: PolledApi

    @pytest.fixture(autouse=True)
    def _api(self) -> Iterator[None]:
        with polled_api() as self.api:
            self.items: list[dict[str, Any]] = []
            self.api.handle = self.listed
            yield

    def listed(self, asked: Asked) -> Answered:
        """Those from a number on, two at a time."""
        since, offset = int(asked.query.get("since", 0)), int(asked.query["offset"])
        found = [item for item in self.items if item["number"] >= since]
        return Answered({"data": found[offset : offset + 2]})

    def source(self) -> HttpPolling:
        since, pages = Since("since", "number"), Offset(size=2)
        return HttpPolling(
            self.api.url + "/changes",
            key="id",
            items="data",
            since=since,
            pages=pages,
            every="50ms",
            batch=1,
        )

    def put(self, key: str, revision: int) -> None:
        self.items.append({"number": len(self.items) + 1, "id": key, "revision": revision})

    def unreachable_source(self) -> HttpPolling:
        return HttpPolling(f"http://127.0.0.1:{free_port()}/x", key="id", token="hunter2")


class TestHttpPollingOfEntities(TestHttpPollingSince):
    """An API that lists entities as they are."""

    deletes = True
    every_state = False

    @pytest.fixture(autouse=True)
    def _api(self) -> Iterator[None]:
        with polled_api() as self.api:
            self.entities: dict[str, int] = {}
            self.api.handle = self.listed
            yield

    def listed(self, asked: Asked) -> Answered:
        offset = int(asked.query["offset"])
        items = [{"id": key, "revision": n} for key, n in sorted(self.entities.items())]
        return Answered(items[offset : offset + 2])

    def source(self) -> HttpPolling:
        pages = Offset(size=2)
        return HttpPolling(self.api.url, key="id", pages=pages, every="50ms", batch=1)

    def put(self, key: str, revision: int) -> None:
        self.entities[key] = revision

    def remove(self, key: str) -> None:
        del self.entities[key]
