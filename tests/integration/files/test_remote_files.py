"""FileSource on SFTP and S3: what it promises of a folder, it keeps of one elsewhere."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from files_kit import bad, batches, records, rows
from s3_kit import S3Server
from sftp_kit import SftpServer
from trunkline.connectors.files import S3, FileSource, Sftp
from trunkline.connectors.files.folder import State
from trunkline.connectors.files.lines import Truncated
from trunkline.connectors.files.remote import Entry
from trunkline.connectors.files.s3 import S3Store
from trunkline.connectors.files.sftp import SftpStore
from trunkline.errors import ConfigurationError, SourceError


class World:
    """A folder elsewhere: ``place`` names it, ``put`` writes a file, ``contents`` has all files."""

    def __init__(
        self,
        place: Sftp | S3,
        put: Callable[[str, bytes], None],
        contents: Callable[[], dict[str, bytes]],
    ) -> None:
        self.place, self.put, self.contents = place, put, contents

    def source(self, **more: Any) -> FileSource:
        given: dict[str, Any] = {"key": "id", "settle": "0s", "marker": ""}
        return FileSource(self.place, "*.csv", **{**given, **more})

    def write(self, name: str, *ids: object) -> None:
        self.put(name, ("id,note\n" + "".join(f"{key},x\n" for key in ids)).encode())


@pytest.fixture(scope="module")
def sftp() -> Iterator[SftpServer]:
    server = SftpServer()
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.close()


def on_sftp(server: SftpServer) -> World:
    place = server.new_folder()
    folder = Path(place.folder)

    def put(name: str, content: bytes) -> None:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.parent.chmod(0o777)
        path.write_bytes(content)
        # As version 3 tells seconds alone, each write of a test is in a second of its own.
        os.utime(path, (1_700_000_000 + server.writes, 1_700_000_000 + server.writes))
        server.writes += 1

    def contents() -> dict[str, bytes]:
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    return World(place, put, contents)


def on_s3(server: S3Server) -> World:
    bucket = server.new_bucket()
    return World(
        server.place(bucket),
        lambda name, content: server.put(bucket, f"in/{name}", content),
        lambda: {key.removeprefix("in/"): body for key, body in server.contents(bucket).items()},
    )


@pytest.fixture(params=["sftp", "s3"])
def world(request: pytest.FixtureRequest) -> World:
    server = request.getfixturevalue(request.param)
    return on_sftp(server) if isinstance(server, SftpServer) else on_s3(server)


def test_each_content_once_under_its_name(world: World) -> None:
    world.write("a.csv", 1, 2)
    world.write("b.csv", 3)
    world.write(".hidden.csv", 9)
    world.put("c.txt", b"no")
    given = batches(
        world.source(),
        None,
        lambda: world.write("a.csv", 4),  # replaced
        lambda: world.write("b.csv", 3),  # put there again
        lambda: world.write("b.csv", 3, 5),  # it grew
    )
    assert rows(given) == ["1", "2", "3", "4", "5"]
    assert rows(batches(world.source(), given[-1].position)) == []


def test_a_new_file_is_seen_at_the_next_look_each_time(world: World) -> None:
    given = batches(
        world.source(), None, *(lambda n=n: world.write(f"{n}.csv", n) for n in range(100))
    )
    assert rows(given) == [str(n) for n in range(100)]
    assert len({record.id for record in records(given)}) == 100


def test_a_bucket_is_listed_page_by_page(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store gives a thousand at once; here it gives three."""
    world, call, pages = on_s3(s3), S3Store._call, []

    async def small(store: S3Store, name: str, **given: Any) -> Any:
        if name == "list_objects_v2":
            pages.append(given.get("ContinuationToken"))
            given["MaxKeys"] = 3
        return await call(store, name, **given)

    monkeypatch.setattr(S3Store, "_call", small)
    for number in range(10):
        world.write(f"{'below/' * (number % 2)}{number}.csv", number)
    assert sorted(rows(batches(world.source(recursive=True)))) == [str(n) for n in range(10)]
    assert len(set(pages)) == 4


def test_it_goes_on_in_the_middle_of_a_file(world: World) -> None:
    world.write("a.csv", *range(1000))
    whole = batches(world.source(batch=100))
    assert rows(whole) == [str(n) for n in range(1000)]
    for index in (0, 4, 8):
        rest = batches(world.source(batch=100), whole[index].position)
        assert [record.id for record in records(rest)] == [
            record.id for record in records(whole[index + 1 :])
        ]


def test_a_rest_that_is_lost_is_a_dead_letter(world: World) -> None:
    world.write("a.csv", *range(100))
    source = world.source(batch=50)
    first = next(iter(source.read(None, threading.Event())))
    source.close()
    world.write("a.csv", "new")
    given = batches(world.source(), first.position)
    assert rows(given) == ["new"]
    assert [(place, raw) for place, _, raw in bad(given)] == [("a.csv:52", b"")]


def test_finished_files_are_moved_and_nothing_is_overwritten(world: World) -> None:
    world.write("a.csv", 1)
    world.put("below/b.csv", b"id\n2\n")
    world.put("a.csv.done", b"")

    def again() -> None:
        world.write("a.csv", 3)

    source = world.source(after="archive", recursive=True, marker=".done")
    given = batches(source, None, lambda: None, again, lambda: None, lambda: None)
    assert sorted(rows(given)) == ["1", "2", "3"]
    names = sorted(world.contents())
    assert names[1:] == ["archive/a.csv", "archive/below/b.csv"]
    assert names[0].startswith("archive/a-")
    assert world.contents()["archive/a.csv"] == b"id,note\n1,x\n"


def test_finished_files_are_deleted(world: World) -> None:
    world.write("a.csv", 1)
    given = batches(world.source(after="delete"), None, lambda: None, lambda: None)
    assert (rows(given), world.contents()) == (["1"], {})


def test_a_marker_tells_that_a_file_is_complete(world: World) -> None:
    world.write("a.csv", 1)
    world.write("b.csv", 2)
    source = world.source(settle=None, marker=".done")
    given = batches(source, None, lambda: world.put("b.csv.done", b""))
    assert rows(given) == ["2"]


def test_no_file_is_read_that_changes_while_it_is_copied(world: World) -> None:
    world.write("a.csv", 1)
    store = SftpStore(world.place) if isinstance(world.place, Sftp) else S3Store(world.place)
    (entry,) = store.list(False, "", threading.Event())
    world.write("a.csv", 2)
    with pytest.raises(Truncated):
        store.fetch(entry, BytesIO(), threading.Event())
    gone = Entry("none.csv", State(1, 1, 0, 0))
    with pytest.raises(FileNotFoundError):
        store.fetch(gone, BytesIO(), threading.Event())
    store.close()


def test_a_file_that_is_replaced_while_it_is_put_away_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(world.place, Sftp):
        pytest.skip("SFTP renames whatever has the name")
    world.write("a.csv", 1)
    looked = S3Store.is_same
    replaced = [2]

    def is_same(*given: Any) -> bool:
        same = looked(*given)
        if replaced:
            world.write("a.csv", replaced.pop())
        return same

    monkeypatch.setattr(S3Store, "is_same", is_same)
    given = batches(world.source(after="read"), None, *[lambda: None] * 4)
    assert rows(given) == ["1", "2"]
    assert list(world.contents()) == ["read/a.csv"]


def test_links_to_folders_lead_in_no_circle(sftp: SftpServer) -> None:
    world = on_sftp(sftp)
    assert isinstance(world.place, Sftp)
    world.write("below/a.csv", 1)
    folder = Path(world.place.folder)
    for name in ("one", "two"):
        (folder / name).symlink_to(folder)
    (folder / "b.csv").symlink_to(folder / "below" / "a.csv")
    assert rows(batches(world.source(recursive=True))) == ["1", "1"]


def test_an_archive_is_another_folder(tmp_path: Path) -> None:
    """Files would come back under another name, and be read again, for ever."""
    inbox = Sftp(host="h", user="u", password="p", folder="/in")
    bucket = S3(bucket="b", folder="in", endpoint="http://h", access_key="k", secret_key="s")
    wrong: list[tuple[Any, str]] = [(tmp_path, "."), (tmp_path, str(tmp_path)), (inbox, "/in/")]
    for place, after in [*wrong, (bucket, "x/..")]:
        with pytest.raises(ConfigurationError, match="the folder itself"):
            FileSource(place, after=after)


def test_a_folder_that_is_not_there_is_a_source_error(sftp: SftpServer, s3: S3Server) -> None:
    missing = replace(sftp.place(), folder="/missing")
    for place, said in ((missing, "is not there"), (s3.place("no-such-bucket"), "NoSuchBucket")):
        source = FileSource(place, key="id")
        with pytest.raises(SourceError, match=said):
            source.check()
        source.close()


def test_an_unknown_or_changed_host_key_is_refused() -> None:
    server = SftpServer()
    server.start()
    try:
        (server.folder / "a.csv").write_text("id\n1\n")
        unknown = FileSource(server.place(""), key="id", settle="0s")
        with pytest.raises(ConfigurationError, match="host_key= names none") as refused:
            unknown.check()
        assert f"pin it: host_key='{server.fingerprint}'" in str(refused.value)
        unknown.close()
        pinned, before = server.place(), server.fingerprint
        source = FileSource(pinned, key="id", settle="0s")
        assert rows(batches(source)) == ["1"]
        server.stop()
        server.start()
        assert server.fingerprint != before
        with pytest.raises(ConfigurationError, match="not one that host_key= names") as refused:
            batches(FileSource(pinned, key="id", settle="0s"))
        assert before in str(refused.value)
        assert server.fingerprint in str(refused.value)
        # Refused before the user's name or key was shown to it: both logins are the first one's.
        assert server.log.count("Accepted publickey") == 1
    finally:
        server.close()


def test_a_lost_connection_is_made_again(sftp: SftpServer) -> None:
    world = on_sftp(sftp)
    world.write("a.csv", 1)
    source = world.source(interval="20ms")
    given = source.read(None, threading.Event())
    assert [record.key for record in next(given).records] == ["1"]
    store: Any = source._place._store  # type: ignore[attr-defined]
    store._connection.abort()
    world.write("b.csv", 2)
    assert [record.key for record in next(given).records] == ["2"]
    given.close()  # type: ignore[attr-defined]
    source.close()


@pytest.mark.parametrize("kind", ["sftp", "s3"])
def test_a_stop_waits_for_no_server_that_hangs(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        place: Sftp | S3 = (
            Sftp(host="127.0.0.1", port=port, user="u", password="p", host_key="SHA256:x")
            if kind == "sftp"
            else S3(bucket="b", endpoint=f"http://127.0.0.1:{port}", access_key="k", secret_key="s")
        )
        source, stop = FileSource(place, key="id"), threading.Event()
        timer = threading.Timer(1.0, stop.set)
        timer.start()
        began = time.monotonic()
        assert list(source.read(None, stop)) == []
        assert time.monotonic() - began < 1.0 + 1.0
        source.close()
        timer.join()


@pytest.mark.parametrize("kind", ["sftp", "s3"])
def test_a_stop_waits_for_no_name_server(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()

    def never(*_: object, **__: object) -> list[Any]:
        answers.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", never)
    place: Sftp | S3 = (
        Sftp(host="slow.example", user="u", password="p", host_key="SHA256:x")
        if kind == "sftp"
        else S3(bucket="b", endpoint="http://slow.example", access_key="k", secret_key="s")
    )
    source, stop = FileSource(place, key="id"), threading.Event()
    timer = threading.Timer(0.5, stop.set)
    timer.start()
    assert list(source.read(None, stop)) == []
    closing = threading.Thread(target=source.close)
    closing.start()
    closing.join(5)
    closed = not closing.is_alive()
    answers.set()
    closing.join()
    assert closed
    timer.join()
