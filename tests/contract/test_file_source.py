"""FileSource passes the acceptance suite: a folder with one file that grows, one of many files, of
Parquet, too, and such ones on SFTP and S3."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from s3_kit import S3Server
from sftp_kit import SftpServer
from trunkline.connectors.contract import SourceContract
from trunkline.connectors.files import FileSource, JsonLines, Parquet


class TestFileSourceOfFiles(SourceContract):
    """Each change is a file."""

    deletes = False

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.files = 0

    def source(self) -> FileSource:
        return FileSource(self.folder, key="id", settle="0s", interval="50ms", batch=2)

    def put(self, key: str, revision: int) -> None:
        self.files += 1
        new = self.folder / f".{self.files:04}.csv"
        new.write_text(f"id,revision\n{key},{revision}\n")
        new.rename(self.folder / f"{self.files:04}.csv")

    def unreachable_source(self) -> FileSource:
        return FileSource(self.folder / "missing", key="id")


class TestFileSourceOfParquet(TestFileSourceOfFiles):
    """Each change is a file of Parquet."""

    def source(self) -> FileSource:
        form = Parquet()
        return FileSource(
            self.folder, "*.parquet", format=form, key="id", settle="0s", interval="50ms", batch=2
        )

    def put(self, key: str, revision: int) -> None:
        self.files += 1
        new = self.folder / f".{self.files:04}.parquet"
        pq.write_table(pa.table({"id": [key], "revision": [revision]}), new)
        new.rename(self.folder / f"{self.files:04}.parquet")


class TestFileSourceOfALog(SourceContract):
    """Each change is a line that is appended to one file."""

    deletes = False

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def source(self) -> FileSource:
        return FileSource(
            self.folder, "*.jsonl", format=JsonLines(), key="id", settle="0s", interval="50ms"
        )

    def put(self, key: str, revision: int) -> None:
        with (self.folder / "changes.jsonl").open("a") as file:
            file.write(f'{{"id": "{key}", "revision": {revision}}}\n')

    def unreachable_source(self) -> FileSource:
        return FileSource(self.folder / "missing", key="id")


@pytest.fixture(scope="module")
def sftp_server() -> Iterator[SftpServer]:
    server = SftpServer()
    server.start()
    yield server
    server.close()


class TestFileSourceOnSftp(SourceContract):
    """Each change is a file on a server."""

    deletes = False
    secrets = ("hidden-word",)

    @pytest.fixture(autouse=True)
    def _server(self, sftp_server: SftpServer) -> None:
        self.place = sftp_server.new_folder()
        self.files = 0

    def source(self) -> FileSource:
        return FileSource(self.place, key="id", settle="0s", interval="50ms", batch=2)

    def put(self, key: str, revision: int) -> None:
        self.files += 1
        new = Path(self.place.folder) / f".{self.files:04}.csv"
        new.write_text(f"id,revision\n{key},{revision}\n")
        os.utime(new, (1_700_000_000, 1_700_000_000))
        new.rename(Path(self.place.folder) / f"{self.files:04}.csv")

    def unreachable_source(self) -> FileSource:
        return FileSource(replace(self.place, port=1, password="hidden-word"), key="id")


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.close()


class TestFileSourceOnS3(SourceContract):
    """Each change is an object in a bucket."""

    deletes = False
    secrets = ("hidden-word",)

    @pytest.fixture(autouse=True)
    def _server(self, s3_server: S3Server) -> None:
        self.server, self.bucket = s3_server, s3_server.new_bucket()
        self.files = 0

    def source(self) -> FileSource:
        place = self.server.place(self.bucket)
        return FileSource(place, key="id", settle="0s", interval="50ms", batch=2)

    def put(self, key: str, revision: int) -> None:
        self.files += 1
        content = f"id,revision\n{key},{revision}\n".encode()
        self.server.put(self.bucket, f"in/{self.files:04}.csv", content)

    def unreachable_source(self) -> FileSource:
        place = self.server.place(self.bucket)
        return FileSource(
            replace(place, endpoint="http://127.0.0.1:1", secret_key="hidden-word"), key="id"
        )
