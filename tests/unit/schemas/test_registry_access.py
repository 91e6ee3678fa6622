"""How the registry is reached: a private authority, client certificates, tokens, several addresses,
and the subjects of each strategy; against real HTTP and HTTPS servers."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from locked_kafka import Authority
from trunkline.errors import ConfigurationError, RegistryUnavailable
from trunkline.params import ParameterError, load_backbone
from trunkline.schemas.commerce import Order
from trunkline.schemas.registry import Registry, registry_of
from trunkline.schemas.subjects import subject
from trunkline.schemas.types import schema_of

ORDER = schema_of(Order).json
MARKED = "m4rked/se@cr%et"


class Server(ThreadingHTTPServer):
    """A registry's node: it knows one schema, and lets in who has ``authorization``."""

    daemon_threads = True

    def __init__(self) -> None:
        self.authorization = ""
        self.status = 200
        self.asked = 0
        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that does not trust us hangs up: no line for each."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked += 1
        wanted = self.server.authorization
        refused = bool(wanted) and self.headers.get("Authorization") != wanted
        data = json.dumps({"schema": ORDER, "id": 7}).encode()
        self.send_response(401 if refused else self.server.status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """A test's output is for failures."""


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[tuple[Server, str]]:
    with Server() as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server, f"http{'s' if context else ''}://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def secured(authority: Authority, *, mutual: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate("registry")[0])
    if mutual:
        context.load_verify_locations(authority.location)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def asked(url: str, **access: Any) -> int:
    with Registry(url, timeout=5, **access) as registry:
        return registry.lookup("orders-value", ORDER)


def test_a_private_authority_is_trusted_when_it_is_named(authority: Authority) -> None:
    with serving(secured(authority)) as (_, url):
        assert asked(url, ca=str(authority.location)) == 7
        with pytest.raises(ConfigurationError, match=r"not one of an authority.*registry_ca"):
            asked(url)


def test_a_client_certificate_is_shown(authority: Authority) -> None:
    both, key = authority.certificate("worker")
    ca = str(authority.location)
    with serving(secured(authority, mutual=True)) as (_, url):
        assert asked(url, ca=ca, certificate=str(both)) == 7
        assert asked(url, ca=ca, certificate=str(both), key=str(key)) == 7
        # With TLS 1.3 the refusal may come as a connection that breaks.
        with pytest.raises((ConfigurationError, RegistryUnavailable)):
            asked(url, ca=ca)


def test_files_that_are_none_are_named(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no certificate")
    for file in ("gone.pem", "no.pem"):
        with pytest.raises(ConfigurationError, match=file):
            Registry("https://127.0.0.1:1", ca=str(tmp_path / file))


def test_a_registry_without_tls_is_told_from_one_that_is_away() -> None:
    with serving() as (_, url), pytest.raises(ConfigurationError, match="speaks no TLS there"):
        asked(url.replace("http:", "https:"))


def test_a_token_or_a_password_lets_in(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as (server, url):
        server.authorization = f"Bearer {MARKED}"
        assert asked(url, token=MARKED) == 7
        basic = base64.b64encode(f"trunkline:{MARKED}".encode()).decode()
        server.authorization = f"Basic {basic}"
        assert asked(url, user="trunkline", password=MARKED) == 7
        for access in ({"token": MARKED + "s"}, {"user": "t", "password": MARKED + "s"}, {}):
            with pytest.raises(ConfigurationError, match="refuses access") as caught:
                asked(url, **access)
            assert "m4rked" not in str(caught.value)
    assert "m4rked" not in caplog.text


def test_a_node_that_is_away_or_ill_is_passed_over() -> None:
    with ExitStack() as stack:
        ill, ill_url = stack.enter_context(serving())
        well, well_url = stack.enter_context(serving())
        ill.status = 503
        with Registry(f"http://127.0.0.1:1, {ill_url},{well_url}", timeout=5) as registry:
            assert registry.lookup("a-value", ORDER) == 7
            assert (ill.asked, well.asked) == (1, 1)
            assert registry.lookup("b-value", ORDER) == 7
            assert (ill.asked, well.asked) == (1, 2), "the one that answered is asked first"
            well.status, ill.status = 500, 200
            assert registry.lookup("c-value", ORDER) == 7
            ill.status = 503
            with pytest.raises(RegistryUnavailable, match=r"answers 50\d|cannot be asked"):
                registry.lookup("d-value", ORDER)


@pytest.mark.parametrize(
    ("strategy", "name"),
    [
        ("topic", "orders-value"),
        ("record", "commerce.Order"),
        ("topic-record", "orders-commerce.Order"),
    ],
)
def test_subjects_are_named_as_the_strategy_says(strategy: str, name: str) -> None:
    assert subject("orders", ORDER, strategy) == name


def loaded(table: dict[str, Any] | None = None, **variables: str) -> Any:
    environ = {f"TRUNKLINE_REGISTRY_{name}": text for name, text in variables.items()}
    return load_backbone({"trunkline": table or {}}, environ=environ)


def test_each_key_comes_from_the_environment_with_one_underscore_or_two() -> None:
    for found in (loaded(TOKEN=MARKED, CA="x.pem"), loaded(_TOKEN=MARKED, _CA="x.pem")):
        assert found.registry_token.reveal() == MARKED
        assert found.registry_ca == "x.pem"
        assert MARKED not in repr(found)
    assert loaded({"registry_subjects": "record"}).registry_subjects == "record"
    with pytest.raises(ParameterError, match="registry_subjects"):
        loaded(SUBJECTS="recrod")


def test_a_misspelt_key_is_told_with_the_nearest_one() -> None:
    with pytest.raises(ParameterError, match="did you mean TRUNKLINE_REGISTRY__TOKEN") as caught:
        loaded(_TOKN=MARKED)
    assert MARKED not in str(caught.value)


def test_the_backbone_of_an_environment_is_what_the_client_gets() -> None:
    with serving() as (server, url):
        server.authorization = f"Bearer {MARKED}"
        with registry_of(loaded({"registry": url}, _TOKEN=MARKED)) as registry:
            assert registry.lookup("orders-value", ORDER) == 7
