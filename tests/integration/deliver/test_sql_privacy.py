"""What SqlSink's errors tell, on real databases: codes, names, reasons, and no value of a row."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from sql_items import Database, rich
from trunkline.connectors.contract import make_event
from trunkline.errors import DeliveryError, PartialFailure, Rejected
from trunkline.event import Event

MARKER = "jane.doe@example.com"
OTHER = "john's \"own\" (note) for key 'x'"
SOME = {"id": "id", "count": "count", "color": "color", "price": "price", "big": "big"}


def told(error: BaseException) -> str:
    """All that a log line, a dead letter or an alert may show of an error."""
    shown = "".join(traceback.format_exception(error))
    failures = error.failures.values() if isinstance(error, PartialFailure) else ()
    return str(error) + shown + "".join(told(failure) for failure in failures)


def refusal(db: Database, *events: Event[Any], **options: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        db.deliver(list(events), **options)
    return caught.value


def item(key: str, offset: int = 2, **changed: Any) -> Event[Any]:
    return make_event(key, rich(key, **changed), offset=offset)


OWN = {
    "postgresql": "CREATE TABLE {table} (id TEXT PRIMARY KEY, count SMALLINT CHECK (count < 10), "
    "color VARCHAR(40) NOT NULL, price NUMERIC(6,2), big BIGINT, UNIQUE (color))",
    "sqlite": "CREATE TABLE {table} (id TEXT PRIMARY KEY NOT NULL, count INT CHECK (count < 10), "
    "color TEXT NOT NULL, price TEXT, big BIGINT, UNIQUE (color))",
    "mysql": "CREATE TABLE {table} (id VARCHAR(80) COLLATE utf8mb4_bin PRIMARY KEY, "
    "count SMALLINT CHECK (count < 10), color VARCHAR(40) NOT NULL, price NUMERIC(6,2), "
    "big BIGINT)",
}

CASES: dict[str, dict[str, Any]] = {
    "check": {"count": 77, "color": MARKER},
    "null": {"color": None, "big": 987_654_321},
    "unique": {"color": MARKER},
    "too long": {"color": MARKER + " is much longer than forty characters"},
    "quoted": {"color": OTHER + "y" * 40},
    "range": {"count": 98765, "color": MARKER},
    "beyond": {"big": 98_765_432_109_876_543_210, "color": MARKER},
    "decimal": {"price": Decimal("987654321.12"), "color": MARKER},
    "no number": {"count": MARKER, "color": OTHER},
    "quoted number": {"count": OTHER, "color": MARKER},
    "nul": {"color": MARKER + "\x00"},
    "no text": {"color": MARKER + "\ud800"},
    "a list": {"color": [MARKER]},
    "an object": {"color": {"email": MARKER}},
    "no type": {"price": object, "color": MARKER},
}

SECRETS = (MARKER, "jane", "john", "note", "987654321", "98765", "987,65", "much longer")


@pytest.mark.parametrize("case", CASES)
def test_no_value_of_a_refused_row_is_told(db: Database, case: str) -> None:
    """``marker`` is refused; ``b`` comes with it, and its values are nobody's business either."""
    db.run(OWN[db.kind])
    db.deliver([item("a", 1, color=MARKER)], columns=SOME)
    try:
        bad, good = item("marker-key", 3, **CASES[case]), item("b", 2, color="johnny", count=3)
        db.deliver([good, bad], columns=SOME)
    except DeliveryError as error:
        found = told(error)
        assert not [secret for secret in (*SECRETS, "marker-key", "johnny") if secret in found]
    else:
        assert db.kind != "postgresql" or case == "a list", "nothing was refused"


@pytest.mark.parametrize(
    ("case", "names"),
    [
        ("null", ["23502", "color", "{table}"]),
        ("unique", ["23505", "{table}_color_key", "{table}"]),
        ("check", ["23514", "{table}_count_check"]),
    ],
)
def test_postgresql_names_code_constraint_table_and_column(
    postgres: Database, case: str, names: list[str]
) -> None:
    postgres.run(OWN["postgresql"])
    postgres.deliver([item("a", 1, color=MARKER)], columns=SOME)
    found = refusal(postgres, item("c", **CASES[case]), columns=SOME)
    assert [name for name in names if name.format(table=postgres.table) not in str(found)] == []
    assert names[0] in found.cause


def test_one_cause_is_one_text(db: Database) -> None:
    """Dead letters of one cause are one line in ``dlq group``."""
    db.run(OWN[db.kind] if db.kind != "mysql" else f"{OWN['mysql'][:-1]}, CHECK (big < 99))")
    bad = {"color": "x", "count": 50, "big": 5}
    errors = [refusal(db, item(k, **{**bad, "color": k * 9}), columns=SOME) for k in "xyz"]
    assert len({(str(error), error.cause) for error in errors}) == 1
    assert "" not in [error.cause for error in errors]


@pytest.fixture
def telltale(db: Database) -> Iterator[Database]:
    """A table whose trigger says what it refuses."""
    db.run(OWN[db.kind])
    name = f"refuse_{db.table}"
    if db.kind == "postgresql":
        db.run(
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
            "RAISE EXCEPTION 'customer % of % is closed, row %', upper(NEW.color), NEW.big, NEW "
            "USING ERRCODE = TG_ARGV[0]; END$$"
        )
        db.run(
            f"CREATE TRIGGER t BEFORE INSERT ON {{table}} FOR EACH ROW "
            f"EXECUTE FUNCTION {name}('55000')"
        )
    elif db.kind == "mysql":
        db.run(
            "CREATE TRIGGER {table}_t BEFORE INSERT ON {table} FOR EACH ROW BEGIN "
            "DECLARE said TEXT; SET said = CONCAT('customer is closed: ', NEW.color); "
            "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = said; END"
        )
    else:
        db.run(
            "CREATE TRIGGER t BEFORE INSERT ON {table} "
            "BEGIN SELECT RAISE(ABORT, 'customer is closed'); END"
        )
    yield db
    if db.kind == "postgresql":
        db.run(f"DROP FUNCTION {name} CASCADE")


def test_what_a_trigger_says_is_told_without_the_row(telltale: Database) -> None:
    found = told(refusal(telltale, item("marker-key", color=MARKER, big=987_654_321), columns=SOME))
    assert "customer" in found
    assert "closed" in found
    assert not [s for s in (*SECRETS, MARKER.upper(), "marker-key") if s.lower() in found.lower()]


def test_a_foreign_key_is_named_and_not_what_it_holds(db: Database) -> None:
    if db.kind == "sqlite":
        pytest.skip("foreign keys are off there")
    db.run("CREATE TABLE {table}_p (id VARCHAR(80) PRIMARY KEY)")
    db.run(
        "CREATE TABLE {table} (id VARCHAR(80) PRIMARY KEY, color VARCHAR(80), "
        "CONSTRAINT {table}_parent FOREIGN KEY (color) REFERENCES {table}_p (id))"
    )
    if db.kind == "mysql":
        db.run("ALTER TABLE {table} MODIFY id VARCHAR(80) COLLATE utf8mb4_bin")
    try:
        columns = {"id": "id", "color": "color"}
        error = refusal(db, item("marker-key", color=MARKER), columns=columns, positions=None)
        assert isinstance(error, Rejected)
        assert f"{db.table}_parent" in str(error)
        assert "jane" not in told(error)
        assert "marker-key" not in told(error)
    finally:
        db.run("DROP TABLE {table}")
        db.run("DROP TABLE {table}_p")


@pytest.mark.parametrize("key", ["jane", "jane.doe@example.com", '["jane","doe"]', "jane\ud800"])
def test_a_key_that_cannot_be_is_not_told(sqlite: Database, key: str) -> None:
    event = make_event(key.encode(errors="ignore").decode(), change="delete", offset=1)
    error = None
    try:
        sqlite.deliver([event], key="big")
    except DeliveryError as found:
        error = found
    assert error is not None
    assert "jane" not in told(error)


def test_a_moment_is_not_told(postgres: Database) -> None:
    postgres.run(
        "CREATE TABLE {table} (id TEXT PRIMARY KEY, at TIMESTAMPTZ CHECK (at < '2000-1-1'))"
    )
    moment = datetime(2024, 2, 29, 11, 22, 33, tzinfo=UTC)
    error = refusal(
        postgres, item("a", at=moment), columns={"id": "id", "at": "at"}, positions=None
    )
    assert "2024" not in told(error)
    assert "11:22" not in told(error)
