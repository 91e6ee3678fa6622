"""Schemas are asked for without keeping the event loop waiting."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import cast

import pytest

from schemas_known import record, typed
from trunkline.errors import RegistryRefused, RegistryUnavailable, SerializationError
from trunkline.schemas.codec import Codec
from trunkline.schemas.registry import Registry

THING = record(id="string")
VALUE = b"\0\0\0\0\x07\x02a"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    body = json.dumps({"schema": json.dumps(THING)}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
    await writer.drain()
    writer.close()


def test_a_registry_in_the_same_event_loop_can_answer() -> None:
    """Were the loop kept waiting, this server could not answer, and the request would time out."""

    async def learn_then_decode() -> object:
        server = await asyncio.start_server(_answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with Registry(f"http://127.0.0.1:{port}", timeout=5) as registry:
                codec = Codec(registry)
                await codec.prefetch_schemas([VALUE, None, VALUE])
                return codec.decoder(typed(THING))(VALUE)

    assert asyncio.run(learn_then_decode()) == {"id": "a"}


def test_a_registry_that_is_down_says_so() -> None:
    with Registry("http://127.0.0.1:1", timeout=1) as registry, pytest.raises(RegistryUnavailable):
        asyncio.run(Codec(registry).prefetch_schemas([VALUE]))


def test_bytes_of_another_format_are_left_to_their_decoding() -> None:
    with Registry("http://127.0.0.1:1", timeout=1) as registry:
        codec = Codec(registry)
        asyncio.run(codec.prefetch_schemas([b"", b"{}", b"{garbage}"]))
        with pytest.raises(SerializationError):
            codec.decoder(typed(THING))(b"{garbage}")


class Hanging:
    """A registry that answers after a while. ``asked``: how often."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.answers = threading.Event()

    def learn(self, id: int) -> str:
        self.asked.append(id)
        assert self.answers.wait(10)
        return json.dumps(THING)


def test_who_has_no_patience_is_told_what_is_missing_and_the_question_goes_on() -> None:
    async def scene() -> None:
        registry = Hanging()
        codec = Codec(cast(Registry, registry))
        for _ in range(3):
            missing = await codec.ask_for_schemas([VALUE, b"{foreign}", None], 0.01)
            assert list(missing) == [VALUE[:5]]
            assert "has not told schema 7 for 0.01 s" in str(missing[VALUE[:5]])
        registry.answers.set()
        await codec.prefetch_schemas([VALUE])
        assert registry.asked == [7], "one question, whoever waits for it"
        assert await codec.ask_for_schemas([VALUE], 0.0) == {}

    asyncio.run(scene())


def test_a_question_that_failed_is_asked_again() -> None:
    class Down:
        def learn(self, id: int) -> str:
            raise RegistryRefused(f"no access to {id}")

    async def scene() -> None:
        codec = Codec(cast(Registry, Down()))
        for _ in range(2):
            missing = await codec.ask_for_schemas([VALUE], float("inf"))
            assert {key: str(why) for key, why in missing.items()} == {VALUE[:5]: "no access to 7"}
            with pytest.raises(RegistryRefused):
                await codec.prefetch_schemas([VALUE])

    asyncio.run(scene())
