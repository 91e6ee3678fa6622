"""FileSink passes the acceptance suite, in a folder and in an S3 store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from s3_kit import S3Server
from trunkline.connectors.contract import SinkContract
from trunkline.connectors.contract.tools import make_event
from trunkline.connectors.files import S3, FileSink
from trunkline.event import Event
from trunkline.schemas.types import avro_type


class Item(dict[str, Any]):
    """Any item."""


avro_type(
    Item,
    '{"type": "record", "name": "Item", "fields": ['
    '{"name": "id", "type": "string"}, {"name": "revision", "type": "long"}]}',
)


def as_lines(files: list[bytes]) -> list[bytes]:
    """The rows of Parquet files as JSON, a file a text."""
    tables = [pq.ParquetFile(pa.BufferReader(content)).read() for content in files]
    return [
        b"".join(json.dumps(row, default=str).encode() + b"\n" for row in table.to_pylist())
        for table in tables
    ]


def folded(contents: list[bytes]) -> dict[str, int]:
    """The newest revision of each key, as one who reads the files finds it."""
    lines = [json.loads(line) for content in contents for line in content.splitlines()]
    newest = {line["_key"]: line for line in sorted(lines, key=lambda line: line["_offset"])}
    return {k: line["revision"] for k, line in newest.items() if line["_change"] != "delete"}


class FileSinkContract(SinkContract):
    def files(self) -> list[bytes]:
        raise NotImplementedError

    def contents(self) -> dict[str, int]:
        return folded(self.files())

    def effects(self) -> int:
        return sum(len(content.splitlines()) for content in self.files())

    effectively_once = True

    def unacceptable(self, key: str) -> Event[Any]:
        return make_event(key, {"id": object()}, offset=next(self._numbers()))


class TestInAFolder(FileSinkContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def sink(self) -> FileSink[Item]:
        return FileSink(self.folder, Item)

    def files(self) -> list[bytes]:
        return [path.read_bytes() for path in self.folder.rglob("*.jsonl")]

    def unreachable_sink(self) -> FileSink[Item]:
        return FileSink(self.folder / "none", Item)


class TestInAFolderAsParquet(TestInAFolder):
    def sink(self) -> FileSink[Item]:
        return FileSink(self.folder, Item, format="parquet")

    def files(self) -> list[bytes]:
        """As JSON lines would have them."""
        return as_lines([path.read_bytes() for path in self.folder.rglob("*.parquet")])

    def unreachable_sink(self) -> FileSink[Item]:
        return FileSink(self.folder / "none", Item, format="parquet")


@pytest.fixture(scope="module")
def store() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.close()


class TestInABucket(FileSinkContract):
    secrets = ("hush",)

    @pytest.fixture(autouse=True)
    def _bucket(self, store: S3Server) -> None:
        self.store, self.bucket = store, store.new_bucket()

    def sink(self) -> FileSink[Item]:
        return FileSink(self.store.place(self.bucket, "lake"), Item)

    def files(self) -> list[bytes]:
        found = self.store.contents(self.bucket)
        return [content for key, content in found.items() if key.endswith(".jsonl")]

    def unreachable_sink(self) -> FileSink[Item]:
        nobody = S3(
            bucket="b",
            endpoint="http://127.0.0.1:1",
            access_key="key",
            secret_key="hush",
            timeout="1s",
        )
        return FileSink(nobody, Item)


class TestInABucketAsParquet(TestInABucket):
    def sink(self) -> FileSink[Item]:
        return FileSink(self.store.place(self.bucket, "lake"), Item, format="parquet")

    def files(self) -> list[bytes]:
        """As JSON lines would have them."""
        found = self.store.contents(self.bucket)
        return as_lines([content for key, content in found.items() if key.endswith(".parquet")])
