"""TLS on the port that KEDA calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from locked_kafka import Authority
from trunkline import ConfigurationError
from trunkline.scaler.tls import TlsFiles, tls_files


@asynccontextmanager
async def listening(files: TlsFiles) -> AsyncIterator[int]:
    server = grpc.aio.server()
    port = server.add_secure_port("127.0.0.1:0", files.credentials())
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


async def is_let_in(port: int, authority: Authority, own: tuple[Path, Path] | None = None) -> bool:
    """Whether a client that trusts this authority, with a certificate of its own, is connected."""
    certificate, key = (None, None) if own is None else (own[0].read_bytes(), own[1].read_bytes())
    trusted = grpc.ssl_channel_credentials(authority.location.read_bytes(), key, certificate)
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", trusted) as channel:
        try:
            await channel.unary_unary("/none/such")(b"", timeout=20)
        except grpc.aio.AioRpcError as error:
            return error.code() is grpc.StatusCode.UNIMPLEMENTED  # it came as far as the server
    return False


def test_a_certificate_that_was_renewed_counts_for_the_next_connection(tmp_path: Path) -> None:
    first, second = (Authority(tmp_path, name) for name in ("first", "second"))
    certificate, key = first.certificate("scaler")

    async def test() -> None:
        async with listening(TlsFiles(certificate, key)) as port:
            assert await is_let_in(port, first)
            assert not await is_let_in(port, second)
            second.certificate("scaler")  # under the same names
            assert await is_let_in(port, second)
            key.unlink()  # in the middle of being replaced
            assert await is_let_in(port, second)

    asyncio.run(test())


def test_whoever_has_no_certificate_is_kept_out_where_one_is_asked_for(tmp_path: Path) -> None:
    ours, others = Authority(tmp_path, "ours"), Authority(tmp_path, "others")
    certificate, key = ours.certificate("scaler")

    async def test() -> None:
        async with listening(TlsFiles(certificate, key, ours.location)) as port:
            assert await is_let_in(port, ours, ours.certificate("keda"))
            assert not await is_let_in(port, ours)
            assert not await is_let_in(port, ours, others.certificate("stranger"))

    asyncio.run(test())


def test_what_is_given_in_part_or_cannot_be_read_is_told(tmp_path: Path) -> None:
    assert tls_files("", "", "") is None
    with pytest.raises(ConfigurationError, match="belong together"):
        tls_files("a.pem", "", "")
    with pytest.raises(ConfigurationError, match=r"a\.pem cannot be read: No such file"):
        TlsFiles(tmp_path / "a.pem", tmp_path / "a.pem").credentials()
