"""The databases that the SQL sink's tests run on, each test with a table of its own, and a
certificate for servers that encrypt."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sql_items import Database, opened


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    with opened(f"sqlite:///{tmp_path}/mart.db") as database:
        yield database


@pytest.fixture
def postgres(postgres_dsn: str) -> Iterator[Database]:
    with opened(postgres_dsn) as database:
        yield database


@pytest.fixture
def mariadb(mariadb_url: str) -> Iterator[Database]:
    with opened(mariadb_url) as database:
        yield database


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def db(request: pytest.FixtureRequest) -> Database:
    """Each of them in turn."""
    database: Database = request.getfixturevalue(request.param)
    return database


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A fresh self-signed certificate for 127.0.0.1, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "here")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = tmp_path / "here.pem"
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path
