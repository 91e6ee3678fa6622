"""PostgresCDC on a real server: keys, and tables that the application can go on with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest

from pg_kit import Database, count, let_go, new_database, read, start, streaming, until
from reading_kit import Reading
from trunkline.connectors.postgres import PostgresCDC
from trunkline.errors import ConfigurationError

FULL = "ALTER TABLE t REPLICA IDENTITY FULL"
STORED = "GENERATED ALWAYS AS (a * 2) STORED"
VIRTUAL = "GENERATED ALWAYS AS (a * 2) VIRTUAL"


@pytest.fixture
def database(postgres_dsn: str, topic: Callable[[str], str]) -> Iterator[Database]:
    with new_database(postgres_dsn, topic("cdc")) as made:
        yield made


def source_of(database: Database, *tables: str, **more: Any) -> PostgresCDC:
    slot = database.name.replace("-", "_")
    return PostgresCDC(database.dsn, tables or ["t"], **{"slot": slot} | more)


def refusal(source: PostgresCDC, position: Any = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(source, position, until=count(1))
    return str(caught.value)


def publications(database: Database) -> list[str]:
    return [name for (name,) in database.run("SELECT pubname FROM pg_publication")]


# The application goes on.


@pytest.mark.parametrize(
    "table",
    [
        f"CREATE TABLE t (id int PRIMARY KEY, a int, g int {STORED}); {FULL}",
        f"CREATE TABLE t (a int, g int {STORED} PRIMARY KEY)",
        f"CREATE TABLE t (id int PRIMARY KEY DEFERRABLE, a int); {FULL}",
    ],
    ids=["full with a generated column", "generated key", "full with a deferrable key"],
)
def test_the_application_can_change_what_is_captured(database: Database, table: str) -> None:
    database.run(table)
    database.run(
        "INSERT INTO t (a) VALUES (1)"
        if "g int" in table and "id" not in table
        else "INSERT INTO t (id, a) VALUES (1, 1)"
    )
    (row,), position = read(source_of(database), until=streaming)
    database.run("UPDATE t SET a = 5")
    database.run("DELETE FROM t")
    records, _ = read(
        source_of(database), position, until=lambda r, _: bool(r) and r[-1].change == "delete"
    )
    assert all(record.key for record in records)
    changed = next(
        record
        for record in records
        if record.change in ("create", "update") and record.data.get("a") == 5
    )
    assert set(changed.data) == set(row.data)
    assert changed.data.get("g", 10) == 10


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            f"CREATE TABLE t (id int PRIMARY KEY, a int, g int {VIRTUAL}); {FULL}",
            "has the generated column g",
        ),
        ("CREATE TABLE t (id int PRIMARY KEY DEFERRABLE, a int)", "is DEFERRABLE"),
    ],
)
def test_a_table_that_could_not_be_changed_any_more_is_not_published(
    database: Database, table: str, message: str
) -> None:
    database.run(table)
    database.run("INSERT INTO t (id, a) VALUES (1, 1)")
    told = refusal(source_of(database))
    assert message in told
    assert publications(database) == []
    database.run("UPDATE t SET a = 2; DELETE FROM t")
    database.run(told.partition("run ")[2])
    start(source_of(database))
    database.run("INSERT INTO t (id, a) VALUES (1, 1); UPDATE t SET a = 2; DELETE FROM t")


def test_a_publication_that_is_there_must_have_the_generated_columns(database: Database) -> None:
    database.run(
        f"CREATE TABLE t (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id) STORED); {FULL}"
    )
    database.run("CREATE PUBLICATION mine; INSERT INTO t VALUES (1)")
    told = refusal(source_of(database, publication="mine"))
    database.run("DELETE FROM t")
    database.run(told.partition("run ")[2])
    start(source_of(database, publication="mine"))


def test_a_start_that_fails_leaves_no_publication(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY)")
    with role(database, "") as dsn:  # the slot needs REPLICATION
        database.run(f'ALTER TABLE t OWNER TO "{database.name}-role"')
        database.run(f'GRANT CREATE ON DATABASE "{database.name}" TO "{database.name}-role"')
        source = PostgresCDC(dsn, ["t"], slot=database.name.replace("-", "_"))
        told = refusal(source)
        assert publications(database) == []
        database.run(told.partition("run ")[2])
        start(source)
        database.run("ALTER TABLE t OWNER TO postgres")


def test_a_slot_that_is_taken_leaves_no_publication(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY)")
    source = source_of(database)
    database.run("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", source.slot)
    assert "is there already" in refusal(source)
    assert publications(database) == []


@pytest.mark.parametrize("listed", [False, True])
def test_generated_columns_that_are_published(database: Database, listed: bool) -> None:
    database.run(
        "CREATE TABLE t (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a * 2) STORED); "
        "INSERT INTO t VALUES (1, 1)"
    )
    columns = "(id, a, g)" if listed else ""
    options = "" if listed else "WITH (publish_generated_columns = stored)"
    database.run(f"CREATE PUBLICATION mine FOR TABLE t {columns} {options}")
    source = source_of(database, publication="mine")
    (row,), position = read(source, until=streaming)
    database.run("INSERT INTO t VALUES (2, 2)")
    (change,), _ = read(source, position, until=count(1))
    assert (row.data, change.data) == ({"id": 1, "a": 1, "g": 2}, {"id": 2, "a": 2, "g": 4})


def test_a_column_list_without_the_key(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, a int)")
    database.run("CREATE PUBLICATION mine FOR TABLE t (a)")
    told = refusal(source_of(database, publication="mine"))
    assert "leaves out id of the key of public.t" in told


# Keys.


def test_a_changed_key_with_full_identity_stops_the_source(database: Database) -> None:
    database.run(f"CREATE TABLE t (tenant int, id int PRIMARY KEY); {FULL}")
    reading = Reading(source_of(database), start(source_of(database)))
    database.run("INSERT INTO t VALUES (1, 1)")
    until(lambda: bool(reading.records), "the first change")
    database.run("ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (tenant, id)")
    database.run("INSERT INTO t VALUES (2, 1)")
    assert "the primary key of public.t has other columns" in str(reading.ended())
    assert [record.key for record in reading.records] == ["1"]


def test_a_key_column_that_was_renamed_with_full_identity(database: Database) -> None:
    """Changes of before have the name of then, those of after the name of now."""
    database.run(f"CREATE TABLE t (tenant int, id int, a text, PRIMARY KEY (tenant, id)); {FULL}")
    database.run("INSERT INTO t VALUES (1, 1), (2, 1)")
    _, position = read(source_of(database), until=streaming)
    database.run("UPDATE t SET a = 'x'; DELETE FROM t WHERE tenant = 2")
    database.run("ALTER TABLE t RENAME tenant TO tenant_id")
    database.run("UPDATE t SET a = 'y'")
    some, position = read(source_of(database, batch=1), position, until=count(1))
    rest, _ = read(source_of(database), position, until=count(3))
    assert [(r.change, r.key) for r in some + rest] == [
        ("update", '["1","1"]'),
        ("update", '["2","1"]'),
        ("delete", '["2","1"]'),
        ("update", '["1","1"]'),
    ]


def test_a_key_that_was_renamed_while_it_runs(database: Database) -> None:
    database.run(f"CREATE TABLE t (id int PRIMARY KEY, a text); {FULL}")
    reading = Reading(source_of(database), start(source_of(database)))
    database.run("INSERT INTO t VALUES (1); ALTER TABLE t RENAME id TO number")
    database.run("UPDATE t SET a = 'x'")
    until(lambda: len(reading.records) == 2 or reading.error is not None, "both changes")
    assert reading.error is None
    assert [record.key for record in reading.records] == ["1", "1"]
    reading.stopped_after()


def test_a_primary_key_that_was_dropped_and_is_there_again(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, a text)")
    position = start(source_of(database))
    database.run("INSERT INTO t VALUES (1); ALTER TABLE t DROP CONSTRAINT t_pkey")
    database.run("INSERT INTO t VALUES (2)")
    told = refusal(source_of(database), position)
    assert 'ALTER TABLE "public"."t" ADD PRIMARY KEY' in told
    database.run("ALTER TABLE t ADD PRIMARY KEY (id)")
    let_go(database)
    records, _ = read(source_of(database), position, until=count(2))
    assert [record.key for record in records] == ["1", "2"]


# What the messages say can be run as it stands.


@contextmanager
def role(database: Database, rights: str) -> Iterator[str]:
    name = f"{database.name}-role"
    database.run(f'CREATE ROLE "{name}" LOGIN {rights}')
    try:
        yield psycopg2.extensions.make_dsn(database.dsn, user=name)
    finally:
        database.run(f'DROP OWNED BY "{name}"; DROP ROLE "{name}"')


def test_rights_of_schema_and_table_are_granted_to_the_role(database: Database) -> None:
    database.run('CREATE SCHEMA "My s"; CREATE TABLE "My s"."T x" (id int PRIMARY KEY)')
    database.run('CREATE PUBLICATION mine FOR TABLE "My s"."T x"')
    slot = database.name.replace("-", "_")
    with role(database, "REPLICATION") as dsn:
        for granted in ("GRANT USAGE ON SCHEMA", "GRANT SELECT ON"):
            told = refusal(PostgresCDC(dsn, ["My s.T x"], slot=slot, publication="mine"))
            assert granted in told
            database.run(told.partition("must run ")[2])
        start(PostgresCDC(dsn, ["My s.T x"], slot=slot, publication="mine"))


def test_a_role_needs_the_published_columns_only(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, a int, secret text)")
    database.run("CREATE PUBLICATION mine FOR TABLE t (id, a); INSERT INTO t VALUES (1, 2, 's')")
    with role(database, "REPLICATION") as dsn:
        database.run(f'GRANT SELECT (id) ON t TO "{database.name}-role"')
        slot = database.name.replace("-", "_")
        told = refusal(PostgresCDC(dsn, ["t"], slot=slot, publication="mine"))
        assert 'GRANT SELECT ("a", "ctid", "tableoid") ON' in told, "and where its rows are"
        database.run(told.partition("must run ")[2])
        (row,), _ = read(PostgresCDC(dsn, ["t"], slot=slot, publication="mine"), until=streaming)
        assert row.data == {"id": 1, "a": 2}


@pytest.mark.parametrize("tables", ["TABLE t", "ALL TABLES"])
def test_a_publication_of_partitions_under_their_own_names(database: Database, tables: str) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    database.run("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)")
    database.run(f"CREATE PUBLICATION mine FOR {tables}")
    told = refusal(source_of(database, publication="mine"))
    database.run(told.partition("Run ")[2])
    position = start(source_of(database, publication="mine"))
    database.run("INSERT INTO t VALUES (1)")
    (record,), _ = read(source_of(database, publication="mine"), position, until=count(1))
    assert record.stream == "public.t"


def test_a_table_and_its_partition(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    database.run("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)")
    assert "take public.t1 out of tables=" in refusal(source_of(database, "t", "t1"))


def test_all_faults_are_named_at_once(database: Database) -> None:
    database.run('CREATE TABLE "Orders" (id int); CREATE TABLE t (id int PRIMARY KEY)')
    database.run("ALTER TABLE t REPLICA IDENTITY NOTHING")
    told = refusal(source_of(database, "Orders", "t", "missing")).splitlines()
    assert len(told) == 3
    assert 'ALTER TABLE "public"."Orders" ADD PRIMARY KEY' in told[0]
    assert 'ALTER TABLE "public"."t" REPLICA IDENTITY DEFAULT;' in told[1]
    assert "table public.missing is not in the database" in told[2]
