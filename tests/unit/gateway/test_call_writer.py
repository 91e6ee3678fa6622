"""What becomes of callers whose producer can never go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from trunkline import kafka
from trunkline.gateway import writer
from trunkline.gateway.writer import CallWriter
from trunkline.params import Backbone

FATAL = KafkaError(KafkaError._FATAL, "it has lost its place", True)


class LostProducer:
    """Tells of one record that it can never go on, and of the others when it is purged."""

    def __init__(self) -> None:
        self._reports: list[Callable[[KafkaError | None, Any], None]] = []
        self._told = False

    def produce(self, *record: Any, on_delivery: Any, **more: Any) -> None:
        self._reports.append(on_delivery)

    def poll(self, seconds: float) -> None:
        time.sleep(seconds / 100)
        if len(self._reports) == 6 and not self._told:
            self._told = True
            self._reports.pop(0)(FATAL, None)

    def purge(self) -> None:
        for report in self._reports:
            report(KafkaError(KafkaError._PURGE_QUEUE), None)

    def flush(self, seconds: float) -> None: ...


class SoundProducer(LostProducer):
    def poll(self, seconds: float) -> None:
        time.sleep(seconds / 100)


def test_all_who_wait_for_a_producer_that_can_never_go_on_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = iter([LostProducer(), SoundProducer()])
    monkeypatch.setattr(kafka, "producer", lambda *_, **__: next(made))
    monkeypatch.setattr(writer, "call_headers", lambda *_: [])

    class Anything:
        calls = inbox = flow = key = call = "x"

        def record_key(self, *, by_gateway: bool) -> bytes:
            return b""

        def encoded(self) -> bytes:
            return b""

    async def run() -> list[Any]:
        made: Any = Anything()
        calls = CallWriter(Backbone(bootstrap="x", registry="http://x"), {})
        calls.start()
        writes = [calls.write(made, made, b"", "") for _ in range(3)]
        try:
            return await asyncio.wait_for(asyncio.gather(*writes, return_exceptions=True), 20)
        finally:
            await calls.stop()

    assert [type(one) for one in asyncio.run(run())] == [KafkaException] * 3
