"""A standby of a PostgreSQL, made of a copy of its files while it runs.

PostgreSQL documentation, "Making a Base Backup Using the Low Level API": the stack's files have no
pg_basebackup.
"""

from __future__ import annotations

import os
import shutil
from contextlib import closing, suppress
from pathlib import Path

import psycopg2

from trunkline.local.postgres import Postgres
from trunkline.local.server import own_folder, unprivileged

SLOT = "standby"
_LEFT_OUT = ("pg_replslot", "pg_wal", "postmaster.pid", "postmaster.opts")


def standby_of(primary: Postgres, home: Path, port: int) -> Postgres:
    """A server that follows ``primary``, which runs, and copies its logical slots. Not started."""
    standby = Postgres(home, port)
    standby.home.mkdir()
    with closing(psycopg2.connect(primary.address)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("SELECT pg_create_physical_replication_slot(%s, true)", (SLOT,))
        cursor.execute("SELECT pg_backup_start('standby', fast => true)")
        own_folder(standby.data)
        shutil.copytree(
            primary.data,
            standby.data,
            ignore=lambda folder, names: _LEFT_OUT if Path(folder) == primary.data else (),
            copy_function=_copied,
            dirs_exist_ok=True,
        )
        cursor.execute("SELECT labelfile FROM pg_backup_stop(wait_for_archive => false)")
        ((label,),) = cursor.fetchall()
    for name in ("pg_replslot", "pg_wal/archive_status", "pg_wal/summaries"):
        (standby.data / name).mkdir(parents=True)
    (standby.data / "backup_label").write_text(label)
    (standby.data / "standby.signal").touch()
    with (standby.data / "postgresql.auto.conf").open("a") as settings:
        settings.write(
            f"primary_conninfo = '{_conninfo(primary)}'\nprimary_slot_name = '{SLOT}'\n"
            "hot_standby_feedback = on\nsync_replication_slots = on\n"
        )
    _give_away(standby.data)
    return standby


def _copied(from_: str, to: str) -> None:
    with suppress(FileNotFoundError):  # the server runs: files come and go, and its log tells
        shutil.copy2(from_, to)


def _conninfo(primary: Postgres) -> str:
    return f"host=127.0.0.1 port={primary.port} user=postgres dbname=postgres"


def _give_away(folder: Path) -> None:
    """To the user whom the server becomes."""
    if user := unprivileged():
        for place, _, names in os.walk(folder):
            for path in (Path(place), *(Path(place) / name for name in names)):
                shutil.chown(path, user)
