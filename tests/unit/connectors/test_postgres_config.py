"""What PostgresCDC says before it has spoken to a server."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from trunkline.connectors.postgres import PostgresCDC
from trunkline.errors import ConfigurationError, SourceError
from trunkline.params import Secret

WITHOUT_DRIVER = """
import sys
sys.modules["psycopg2"] = None
from trunkline.connectors.postgres import PostgresCDC
from trunkline.errors import MissingExtra
try:
    PostgresCDC("", ["public.orders"])
except MissingExtra as error:
    print(error)
"""


def test_a_missing_driver_is_named_at_construction() -> None:
    found = subprocess.run(
        [sys.executable, "-c", WITHOUT_DRIVER], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "PostgresCDC needs an extra: pip install 'trunkline[postgres]'"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tables": []}, "tables= is empty"),
        ({"tables": ["orders", "public.orders"]}, "twice"),
        ({"tables": ["orders"], "slot": "My Slot"}, "slot='My Slot' is no slot name"),
        ({"tables": ["orders"], "batch": 0}, "batch=0"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        PostgresCDC("host=nowhere", **arguments)  # type: ignore[arg-type]


def test_the_slots_name_is_the_tables() -> None:
    one = PostgresCDC("", ["public.a", "b"])
    assert one.slot == PostgresCDC("", ["public.b", "a"]).slot
    assert one.slot != PostgresCDC("", ["public.a"]).slot
    assert one.publication == one.slot


def test_a_source_leaves_the_slot_that_its_position_names() -> None:
    """Its tables are others by now: dropping the slot of their name would leave the real one, for
    which the server keeps its WAL for ever."""
    now = {"slot": "trunkline_0123456789ab"}
    assert PostgresCDC("", ["a", "b"]).traces(now) == [
        "replication slot trunkline_0123456789ab",
        "publication trunkline_0123456789ab",
    ]
    named = PostgresCDC("", ["a"], publication="dba")
    assert named.traces(now) == ["replication slot trunkline_0123456789ab"], (
        "the DBA's, who made it"
    )
    assert PostgresCDC("", ["a"], slot="mine").traces(now)[0] == "replication slot mine"


def test_another_slots_position_is_refused() -> None:
    source = PostgresCDC("", ["orders"], slot="mine")
    with pytest.raises(
        ConfigurationError, match=r"set slot='theirs'\. Or run trunkline source reset"
    ):
        next(source.read({"phase": "snapshot", "slot": "theirs"}, threading.Event()))


def test_a_bad_dsn_is_not_shown() -> None:
    source = PostgresCDC(Secret("hunter2 is no dsn"), ["orders"])
    with pytest.raises(ConfigurationError, match="not a PostgreSQL connection string") as caught:
        next(source.read(None, threading.Event()))
    assert "hunter2" not in repr(caught.getrepr(style="native"))


@pytest.mark.parametrize(
    "password",
    [
        "s3cr@hunter2",
        "s3cr/hunter2",
        "12/hunter2",
        "s3cr%hunter2",
        "a@b/hunter2",
        "1234/56@hunter2",
        "s3cr#/hunter2",
    ],
)
def test_a_password_that_is_not_encoded_is_not_shown(password: str) -> None:
    """libpq takes the rest of it for a host, a port or a database, and says so in its errors."""
    source = PostgresCDC(Secret(f"postgresql://app:{password}@127.0.0.1:1/shop"), ["orders"])
    with pytest.raises(ConfigurationError, match="percent-encoded") as caught:
        next(source.read(None, threading.Event()))
    assert "hunter2" not in str(caught.value)
    assert "s3cr" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://app:p%40ss%2Fword@127.0.0.1:1/shop",
        "host=127.0.0.1 port=1 user=app password='p@ss/word' dbname=shop",
        "postgresql://app:hunter2@127.0.0.1:1,127.0.0.1:2/shop?target_session_attrs=read-write",
    ],
)
def test_a_dsn_that_is_right_is_tried(dsn: str) -> None:
    with pytest.raises(SourceError, match="connecting"):
        next(PostgresCDC(dsn, ["orders"]).read(None, threading.Event()))
