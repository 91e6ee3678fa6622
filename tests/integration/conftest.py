"""The databases that the SQL sink's tests run on, each test with a table of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
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
