"""Downloads from a real HTTP server that plays Maven repository, into a cache of their own."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from trunkline.local import artifacts
from trunkline.local.artifacts import Artifact, ArtifactError
from trunkline.local.disk import DiskFull

CONTENT = b"not really a jar" * 40_000


class Repository:
    """What the server has, and what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.cut_at: int | None = None
        handler = functools.partial(_Handler, self)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def add(self, coordinate: str, content: bytes) -> Artifact:
        artifact = Artifact(coordinate, hashlib.sha256(content).hexdigest(), len(content))
        path = self.folder / artifact.path
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        return artifact


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, repository: Repository, *rest: object) -> None:
        self.repository = repository
        super().__init__(*rest, directory=str(repository.folder))  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self.repository.asked.append(self.path)
        super().do_GET()

    def copyfile(self, source: io.BufferedIOBase, outputfile: io.BufferedIOBase) -> None:  # type: ignore[override]
        outputfile.write(source.read()[: self.repository.cut_at])

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    (tmp_path / "maven").mkdir()
    repository = Repository(tmp_path / "maven")
    monkeypatch.setenv("TRUNKLINE_MAVEN", repository.url)
    monkeypatch.setenv("TRUNKLINE_CACHE", str(tmp_path / "cache"))
    thread = threading.Thread(target=repository.server.serve_forever)
    thread.start()
    yield repository
    repository.server.shutdown()
    repository.server.server_close()
    thread.join()


def lock(monkeypatch: pytest.MonkeyPatch, **bundles: tuple[Artifact, ...]) -> None:
    monkeypatch.setattr(artifacts, "_lock", lambda: bundles)


def cached() -> list[str]:
    found = artifacts.cache_dir().rglob("*")
    return sorted(p.name for p in found if p.is_file() and p.suffix != ".lock")


def test_the_second_time_needs_no_network(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    jars = (repository.add("org.a:one:1.0:jar", CONTENT), repository.add("b:two:2:all:zip", b"2"))
    lock(monkeypatch, tool=jars)
    one, two = artifacts.files("tool")
    assert (one.read_bytes(), two.read_bytes()) == (CONTENT, b"2")
    assert sorted(repository.asked) == ["/b/two/2/two-2-all.zip", "/org/a/one/1.0/one-1.0.jar"]

    monkeypatch.setenv("TRUNKLINE_MAVEN", "http://127.0.0.1:9")
    assert artifacts.files("tool") == [one, two]


def test_other_bytes_than_the_locked_ones_are_thrown_away(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = repository.add("org.a:one:1.0:jar", CONTENT)
    (repository.folder / artifact.path).write_bytes(CONTENT[:-1] + b"!")
    lock(monkeypatch, tool=(artifact,))
    with pytest.raises(ArtifactError, match=r"org\.a:one:1\.0:jar .* sha256"):
        artifacts.fetch("tool")
    assert cached() == []


def test_a_download_that_breaks_off_leaves_nothing(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock(monkeypatch, tool=(repository.add("org.a:one:1.0:jar", CONTENT),))
    repository.cut_at = len(CONTENT) // 2
    with pytest.raises(ArtifactError, match=r"org\.a:one"):
        artifacts.fetch("tool")
    assert cached() == []
    repository.cut_at = None
    assert artifacts.files("tool")[0].read_bytes() == CONTENT


def test_without_network_the_message_says_what_is_missing_and_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUNKLINE_MAVEN", "http://127.0.0.1:9")
    monkeypatch.setenv("TRUNKLINE_CACHE", str(tmp_path))
    lock(monkeypatch, tool=(Artifact("org.a:one:1.0:jar", "0" * 64, 1),))
    with pytest.raises(ArtifactError, match=r"org\.a:one:1\.0:jar.*TRUNKLINE_MAVEN") as caught:
        artifacts.fetch("tool")
    assert str(tmp_path) in str(caught.value)


def test_a_file_that_the_repository_does_not_have(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock(monkeypatch, tool=(Artifact("org.a:gone:1.0:jar", "0" * 64, 1),))
    with pytest.raises(ArtifactError, match=r"org\.a:gone:1\.0:jar: .* answers 404"):
        artifacts.fetch("tool")


def test_two_at_the_same_time_download_once(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The file lock knows no difference between two processes and two openings of one.
    lock(monkeypatch, tool=(repository.add("org.a:one:1.0:jar", CONTENT),))
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(artifacts.fetch, "tool") for _ in range(2)]:
            done.result()
    assert repository.asked == ["/org/a/one/1.0/one-1.0.jar"]


def test_a_jar_with_an_archive_in_it_is_unpacked_once(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock(monkeypatch, tool=(repository.add("org.a:one:1.0:jar", jar_with_program()),))
    place = artifacts.unpacked("tool")
    assert os.access(place / "bin" / "run", os.X_OK)
    inode = place.stat().st_ino
    assert artifacts.unpacked("tool").stat().st_ino == inode


def test_a_full_disk_is_named_and_nothing_is_left(
    repository: Repository, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUNKLINE_CACHE", str(small_disk))
    lock(monkeypatch, tool=(repository.add("org.a:one:1.0:jar", CONTENT),))
    with pytest.raises(DiskFull, match=f"the disk is full: {small_disk}.*TRUNKLINE_CACHE"):
        artifacts.fetch("tool")
    assert cached() == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("needs root and mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def jar_with_program() -> bytes:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:xz") as tar:
        program = tarfile.TarInfo("bin/run")
        program.mode, program.size = 0o755, 4
        tar.addfile(program, io.BytesIO(b"run!"))
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w") as jar:
        jar.writestr("inner.txz", inner.getvalue())
    return outer.getvalue()


@pytest.mark.parametrize("bundle", ["kafka", "registry", "postgres-linux-amd64"])
def test_every_file_of_the_real_lock_has_a_checksum(bundle: str) -> None:
    for artifact in artifacts.locked(bundle):
        assert len(bytes.fromhex(artifact.sha256)) == 32
        assert artifact.size > 1000
        assert artifact.coordinate.count(":") in (3, 4)


def test_a_machine_without_files_is_told_what_there_is() -> None:
    with pytest.raises(ArtifactError, match=r"'postgres-plan9-vax'.*postgres-linux-amd64"):
        artifacts.locked("postgres-plan9-vax")
