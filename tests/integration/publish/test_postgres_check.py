"""What PostgresCDC finds wrong with a real server before it runs, and the SQL that mends it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg2.extensions import make_dsn

from pg_kit import Database, new_database, read, start, streaming
from trunkline.connectors.base import Finding
from trunkline.connectors.postgres import PostgresCDC


@pytest.fixture
def database(postgres_dsn: str, topic: Callable[[str], str]) -> Iterator[Database]:
    with new_database(postgres_dsn, topic("check")) as made:
        made.run("CREATE TABLE orders (id int PRIMARY KEY, status text)")
        yield made


@pytest.fixture
def role(database: Database) -> Iterator[str]:
    """A role that may log in, and nothing else."""
    name = f"reader-{uuid.uuid4().hex[:6]}"
    database.run(f"""CREATE ROLE "{name}" LOGIN PASSWORD 'secret'""")
    yield name
    database.run(f'DROP OWNED BY "{name}"; DROP ROLE "{name}"')


def source_of(database: Database, role: str = "", **more: Any) -> PostgresCDC:
    dsn = make_dsn(database.dsn, user=role, password="secret") if role else database.dsn
    return PostgresCDC(dsn, **{"tables": ["orders"], "slot": slot_of(database)} | more)


def slot_of(database: Database) -> str:
    return database.name.replace("-", "_")


def faults(source: PostgresCDC) -> list[Finding]:
    return [one for one in source.check() if not one.warning]


def test_a_role_without_rights_gets_all_the_sql_at_once_and_it_mends_all(
    database: Database, role: str
) -> None:
    database.run("CREATE SCHEMA shop; CREATE TABLE shop.items (id int PRIMARY KEY)")
    database.run("ALTER TABLE orders ENABLE ROW LEVEL SECURITY")
    source = source_of(database, role, tables=["orders", "shop.items"])
    for _ in range(2):  # what a schema hides is seen once it may be entered
        for found in faults(source):
            assert found.mend in found.what
            database.run(found.mend)
    assert faults(source) == []
    start(source)


def test_everything_about_tables_and_publication_is_found(database: Database) -> None:
    database.run("CREATE TABLE bare (a int)")
    database.run(
        "CREATE TABLE quiet (a int PRIMARY KEY); ALTER TABLE quiet REPLICA IDENTITY NOTHING"
    )
    database.run("CREATE PUBLICATION mine FOR TABLE orders WITH (publish = 'insert')")
    source = source_of(database, tables=["orders", "bare", "quiet", "gone"], publication="mine")
    mends = [found.mend for found in faults(source)]
    assert 'ALTER TABLE "public"."quiet" REPLICA IDENTITY DEFAULT;' in mends
    assert any(mend.startswith('ALTER PUBLICATION "mine" SET (publish') for mend in mends)
    told = "\n".join(found.what for found in faults(source))
    assert "public.bare has no primary key" in told
    assert "public.gone is not in the database" in told


def test_a_check_changes_nothing_and_a_running_source_is_well(database: Database) -> None:
    source = source_of(database)
    assert faults(source) == []
    assert database.slots() == []
    assert database.run("SELECT 1 FROM pg_publication") == []
    start(source)
    assert faults(source_of(database)) == []


def test_what_a_disk_needs_is_a_warning(database: Database) -> None:
    (found,) = [one for one in source_of(database).check() if one.warning]
    assert "max_slot_wal_keep_size is not set" in found.what


def test_a_reset_replaces_the_slot_that_is_its_own(database: Database) -> None:
    database.run("INSERT INTO orders VALUES (1, 'paid')")
    stood = start(source_of(database))
    anew = source_of(database).anew(stood)
    assert anew is not None
    records, _ = read(source_of(database), anew, until=streaming)
    assert [record.key for record in records] == ["1"]
    assert database.slots() == [slot_of(database)]
    assert source_of(database, slot="another").anew(stood) is None
    assert source_of(database, snapshot="never").anew(stood) is None
