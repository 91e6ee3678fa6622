"""The registry's client against a real HTTP server that answers as it is told."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from trunkline.errors import ConfigurationError, RegistryUnavailable, SerializationError
from trunkline.params import Backbone, Secret
from trunkline.schemas import registry as registry_module
from trunkline.schemas.codec import Codec
from trunkline.schemas.commerce import Order
from trunkline.schemas.registry import Registry, registry_of
from trunkline.schemas.types import schema_of

ORDER = schema_of(Order).json
UNKNOWN = (404, {"error_code": 40403, "message": "Schema not found"})


class Server(ThreadingHTTPServer):
    """Answers every request with ``answer``: a status and a body."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        self.answer: tuple[int, Any] = (200, {"schema": ORDER, "id": 7})
        self.requests: list[tuple[str, str, Any]] = []
        self.authorization = ""
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.authorization = self.headers.get("Authorization", "")
        self.server.requests.append((self.command, self.path, json.loads(body or "null")))
        status, answer = self.server.answer
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """A test's output is for failures."""


@contextmanager
def serving(port: int = 0) -> Iterator[Server]:
    with Server(port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def registry(server: Server) -> Iterator[Registry]:
    with Registry(server.url, timeout=5) as client:
        yield client


def test_each_thing_is_asked_once(server: Server, registry: Registry) -> None:
    for _ in range(3):
        assert registry.schema(7) == ORDER
        assert registry.register("a/b value", ORDER) == 7
    assert server.requests == [
        ("GET", "/schemas/ids/7", None),
        ("POST", "/subjects/a%2Fb%20value/versions", {"schema": ORDER}),
    ]


def test_a_lookup_registers_nothing(server: Server, registry: Registry) -> None:
    assert registry.lookup("orders-value", ORDER) == 7
    assert server.requests == [("POST", "/subjects/orders-value", {"schema": ORDER})]


def test_the_codec_asks_per_schema_and_not_per_event(server: Server, registry: Registry) -> None:
    codec = Codec(registry)
    encode = codec.encoder(Order, "orders-value", register=True)
    decode = codec.decoder(Order)
    for number in range(100):
        order = Order(id=str(number), status="paid", total_cents=number)
        assert decode(encode(order)) == order
    assert len(server.requests) == 2


def test_threads_share_a_client(server: Server, registry: Registry) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(registry.schema, [7] * 100)) == {ORDER}
    assert len(server.requests) <= 8


@pytest.mark.parametrize("code", [40401, 40403])
def test_a_lookup_of_what_is_missing(server: Server, registry: Registry, code: int) -> None:
    server.answer = (404, {"error_code": code, "message": "not found"})
    with pytest.raises(ConfigurationError, match=r"commerce\.Order in subject orders-value.*allow"):
        registry.lookup("orders-value", ORDER)


def test_a_flood_of_an_unknown_id_is_asked_once(server: Server, registry: Registry) -> None:
    server.answer = UNKNOWN
    for _ in range(3):
        with pytest.raises(SerializationError, match="schema 9 is unknown to the registry"):
            registry.schema(9)
    assert len(server.requests) == 1


def test_an_unknown_id_is_asked_again_later(
    server: Server, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "FORGET_UNKNOWN_AFTER", 0.0)
    server.answer = UNKNOWN
    with pytest.raises(SerializationError):
        registry.schema(9)
    server.answer = (200, {"schema": ORDER})
    assert registry.learn(9) == ORDER
    assert registry.schema(9) == ORDER


def test_decoding_never_asks_again(
    server: Server, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoding is in the event loop; whether to ask again is its prefetching's affair."""
    monkeypatch.setattr(registry_module, "FORGET_UNKNOWN_AFTER", 0.0)
    server.answer = UNKNOWN
    decode = Codec(registry).decoder(Order)
    for _ in range(100):
        with pytest.raises(SerializationError, match="unknown"):
            decode(b"\0\0\0\0\7abc")
    assert len(server.requests) == 1


def test_another_kind_of_schema_is_asked_for_once(server: Server, registry: Registry) -> None:
    server.answer = (200, {"schema": "{}", "schemaType": "JSON"})
    codec = Codec(registry)
    decode = codec.decoder(Order)
    for _ in range(100):
        asyncio.run(codec.prefetch_schemas([b'\0\0\0\0\1{"a":1}']))
        with pytest.raises(SerializationError, match="schema 1 is not Avro but JSON"):
            decode(b'\0\0\0\0\1{"a":1}')
    assert len(server.requests) == 1


def test_references_that_lead_nowhere_are_told_as_that(server: Server, registry: Registry) -> None:
    """It is Avro: "no Avro schema: x.Addr" would send everybody the wrong way."""
    missing = {"schema": '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "A"}]}'}
    other = [{"name": "A", "subject": "a/b", "version": 1}]
    server.answer = (200, {**missing, "references": other})
    for _ in range(3):
        with pytest.raises(SerializationError, match="schema 7 cannot be read: its references do"):
            registry.schema(7)
    assert [path for _, path, _ in server.requests] == [
        "/schemas/ids/7",
        "/subjects/a%2Fb/versions/1",
    ]
    server.answer = (200, {"schema": ORDER, "references": []})
    assert registry.schema(8) == ORDER


@pytest.mark.parametrize("id", [2**31, 2**32 - 2, 2**32 - 1])
def test_an_id_that_cannot_exist_is_not_asked_for(
    server: Server, registry: Registry, id: int
) -> None:
    server.answer = (404, {"error_code": 404, "message": "HTTP 404 Not Found"})
    with pytest.raises(SerializationError, match=f"schema {id} cannot exist"):
        Codec(registry).decoder(Order)(b"\0" + id.to_bytes(4, "big") + b"x")
    assert server.requests == []


STRANGE = [
    (404, {"error_code": 404, "message": "HTTP 404 Not Found"}),
    (404, {"error_code": "NOT_FOUND"}),
    (404, {"error_code": None}),
    (404, {"error_code": [40403]}),
    (404, {"error_code": True}),
    (400, {"error_code": 1e400}),
    (422, b"<html>"),
    (400, b"[" * 100_000),
]


@pytest.mark.parametrize("answer", STRANGE, ids=range(len(STRANGE)))
def test_a_refusal_of_one_id_is_that_ids(
    server: Server, registry: Registry, answer: tuple[int, Any]
) -> None:
    """Once the registry has shown that it is one: else every event would be a dead letter of a
    wrong address."""
    server.answer = answer
    with pytest.raises(ConfigurationError, match="is this the address of a schema registry"):
        registry.schema(9)
    server.answer = (200, {"schema": ORDER})
    registry.schema(7)
    server.answer = answer
    for _ in range(3):
        with pytest.raises(SerializationError, match="refuses schema 9: 4"):
            registry.schema(9)
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "answer",
    [{"id": "7"}, {"id": True}, {"id": 7.5}, {"id": None}, {"schema": {}}, {"schema": None}, "7"],
)
def test_answers_of_the_wrong_type_are_no_answers(
    server: Server, registry: Registry, answer: Any
) -> None:
    server.answer = (200, answer)
    with pytest.raises(ConfigurationError, match="is this the address of a schema registry"):
        registry.schema(7)
    with pytest.raises(ConfigurationError, match="is this the address of a schema registry"):
        registry.register("orders-value", ORDER)


def test_an_answer_without_end_is_given_up(
    server: Server, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trunkline.schemas.registry_access.MAX_ANSWER", 1000)
    server.answer = (200, {"schema": "x" * 2000})
    with pytest.raises(RegistryUnavailable, match="longer than 1000 bytes"):
        registry.schema(7)


def test_what_is_remembered_of_foreign_ids_is_bounded(
    server: Server, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "MOST_REFUSED", 10)
    server.answer = UNKNOWN
    codec = Codec(registry)
    foreign = [b"\0" + number.to_bytes(4, "big") + b"x" for number in range(1, 101)]
    asyncio.run(codec.prefetch_schemas(foreign))
    assert len(server.requests) == 100
    assert len(registry._refused_ids) == 10


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_registry_in_trouble_is_unavailable(
    server: Server, registry: Registry, status: int
) -> None:
    server.answer = (status, b"<html>come back later</html>")
    for ask in (registry.register, registry.lookup, registry.compatible):
        with pytest.raises(RegistryUnavailable, match=str(status)):
            ask("orders-value", ORDER)
    with pytest.raises(RegistryUnavailable, match="come back later"):
        registry.schema(7)


@pytest.mark.parametrize("status", [401, 403])
def test_wrong_credentials_are_a_mistake_of_configuration(
    server: Server, registry: Registry, status: int
) -> None:
    server.answer = (status, {"error_code": status, "message": "no"})
    with pytest.raises(ConfigurationError, match="user and password"):
        registry.schema(7)
    with pytest.raises(ConfigurationError, match="user and password"):
        registry.register("orders-value", ORDER)


@pytest.mark.parametrize(
    "answer",
    [(404, b"<html>"), (404, {"status": 404}), (200, b"<html>"), (200, []), (302, b"")],
    ids=["page 404", "json 404", "page 200", "list 200", "redirect"],
)
def test_a_stranger_at_the_address_is_no_reason_to_dead_letter(
    server: Server, registry: Registry, answer: tuple[int, Any]
) -> None:
    server.answer = answer
    with pytest.raises(ConfigurationError, match="is this the address of a schema registry"):
        registry.schema(7)
    with pytest.raises(ConfigurationError, match="is this the address of a schema registry"):
        registry.register("orders-value", ORDER)


def test_a_schema_of_another_kind_is_a_data_error(server: Server, registry: Registry) -> None:
    server.answer = (200, {"schema": "{}", "schemaType": "JSON"})
    with pytest.raises(SerializationError, match="schema 7 is not Avro but JSON"):
        registry.schema(7)


def test_a_refusal_tells_the_registrys_reason(server: Server, registry: Registry) -> None:
    server.answer = (422, {"error_code": 42201, "message": "no such type: strnig"})
    with pytest.raises(ConfigurationError, match=r"refuses commerce\.Order .*: 422 no such type"):
        registry.register("orders-value", ORDER)
    assert registry.compatible("orders-value", ORDER) == ["no such type: strnig"]


def test_the_registrys_messages_about_compatibility(server: Server, registry: Registry) -> None:
    server.answer = (200, {"is_compatible": False, "messages": ["a", "b"]})
    assert registry.compatible("orders-value", ORDER) == ["a", "b"]
    server.answer = (404, {"error_code": 40401, "message": "no such subject"})
    assert registry.compatible("orders-value", ORDER) == []


def test_an_outage_ends() -> None:
    with serving() as server:
        registry = Registry(server.url, timeout=5)
        assert registry.register("orders-value", ORDER) == 7
    value = b"\0\0\0\0\7\2a\2b\2"
    decode = Codec(registry).decoder(Order)
    with registry:
        with pytest.raises(RegistryUnavailable, match=registry.url):
            decode(value)
        assert registry.register("orders-value", ORDER) == 7  # known from before
        with serving(int(registry.url.rpartition(":")[2])):
            assert decode(value) == {"id": "a", "status": "b", "total_cents": 1}
        assert decode(value)["id"] == "a"  # and from now on without the registry


def test_a_registry_that_does_not_answer_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with (
            Registry(f"http://127.0.0.1:{port}", timeout=0.1) as registry,
            pytest.raises(RegistryUnavailable, match="Timeout"),
        ):
            registry.schema(7)


def test_credentials_are_sent_and_never_shown(server: Server) -> None:
    address = server.url.replace("//", "//me:hunter2@")
    for registry in (Registry(address), Registry(server.url, user="me", password="hunter2")):
        with registry:
            registry.schema(7)
            assert server.authorization == "Basic bWU6aHVudGVyMg=="
            assert registry.url == server.url
        server.authorization = ""


def test_a_backbone_names_the_registry_and_who_asks(server: Server) -> None:
    named = Backbone(registry=server.url, registry_user="me", registry_password=Secret("hunter2"))
    with registry_of(named) as registry:
        registry.schema(7)
    assert server.authorization == "Basic bWU6aHVudGVyMg=="
    server.authorization = ""
    with registry_of(Backbone(registry=server.url)) as registry:
        registry.schema(7)
    assert not server.authorization


@pytest.mark.parametrize("url", ["", "registry:8081", "http://", "ftp://registry", "http://r:x"])
def test_a_wrong_address_is_told_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError, match="schema registry's address"):
        Registry(url)


@pytest.mark.parametrize(
    "address",
    [
        "http://u:MARKED/pw@h",
        "http://u:MARKED#pw@h",
        "http://u:MARKED?pw@h",
        "http://u:4711/MARKED@h",
        "http://h/#MARKED@h",
        "u:MARKED@h",
        "MARKED",
    ],
)
def test_a_password_that_is_not_escaped_is_not_shown(address: str) -> None:
    with pytest.raises(ConfigurationError, match="the schema registry's address") as caught:
        Registry(address)
    assert "MARKED" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert "4711" not in str(caught.value)
