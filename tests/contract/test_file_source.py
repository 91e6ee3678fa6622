"""FileSource passes the acceptance suite, on a real folder: one file that grows, and others."""

from __future__ import annotations

from pathlib import Path

import pytest

from trunkline.connectors.contract import SourceContract
from trunkline.connectors.files import FileSource, JsonLines


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
