"""SFTP as a store of files: version 3 of the protocol, as OpenSSH speaks it
(draft-ietf-secsh-filexfer-02), by asyncssh."""

from __future__ import annotations

import posixpath
import stat
import threading
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, BinaryIO, TypeVar, cast

import asyncssh

from trunkline.connectors.files.calls import Calls, Patience, patience
from trunkline.connectors.files.folder import State
from trunkline.connectors.files.lines import Stopped, Truncated
from trunkline.connectors.files.places import Sftp
from trunkline.connectors.files.remote import Entry, beside
from trunkline.errors import ConfigurationError, SourceError
from trunkline.params import revealed
from trunkline.times import parse_duration

T = TypeVar("T")

_CHUNK = 4 << 20
_CONNECT_SECONDS = 15.0
_NONE = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath)
_TYPE_UNKNOWN = 5
"""SSH_FILEXFER_TYPE_UNKNOWN: a server need not tell what an entry is."""


class SftpStore:
    """A ``Store`` on an SFTP server. Keeps its connection, and makes another when that is gone."""

    def __init__(self, place: Sftp) -> None:
        self._place = place
        self._timeout = parse_duration(place.timeout)
        self._calls = Calls()
        self._connection: asyncssh.SSHClientConnection | None = None
        self._sftp: asyncssh.SFTPClient | None = None
        self.root = place.folder
        self.url = f"sftp://{place.host}:{place.port}/{place.folder.strip('/')}"

    def list(self, recursive: bool, skipped: str, stop: threading.Event) -> Sequence[Entry]:
        """See Store."""
        held = self._connection is not None
        try:
            return self._run(self._list(recursive, skipped), stop, "cannot be listed")
        except SourceError:
            # A server ends connections that are idle, as ours is while rows of a large file are
            # published: only a new one tells whether anything is wrong.
            if not held:
                raise
            return self._run(self._list(recursive, skipped), stop, "cannot be listed")

    def fetch(self, file: Entry, into: BinaryIO, stop: threading.Event) -> None:
        """See Store. The state is looked at again behind the last byte."""
        self._run(self._fetch(file, into), stop, f"{file.name} cannot be read")

    def is_same(self, file: Entry, stop: threading.Event) -> bool:
        """See Store."""
        found = self._run(self._state(self._path(file.name)), stop, f"{file.name} cannot be seen")
        return found == file.state

    def move(self, name: str, path: str, digest: str, stop: threading.Event) -> None:
        """See Store."""
        self._run(self._move(self._path(name), path, digest), stop, f"{name} cannot be moved")

    def delete(self, name: str, stop: threading.Event) -> None:
        """See Store."""
        self._run(self._delete(self._path(name)), stop, f"{name} cannot be deleted")

    def close(self) -> None:
        """See Store."""
        self._forget()
        self._calls.close()

    def _path(self, name: str) -> str:
        return posixpath.join(self.root, name)

    def _run(self, call: Coroutine[Any, Any, T], stop: threading.Event, what: str) -> T:
        """The call's result. What it raises of asyncssh becomes what ``Store`` says: an answer
        about one file an OSError, anything else a SourceError, after which all begins anew."""
        try:
            return self._calls.run(call, stop)
        except _NONE as error:
            raise FileNotFoundError(2, "no such file", what) from error
        except asyncssh.SFTPPermissionDenied as error:
            raise PermissionError(13, "permission denied", what) from error
        except (asyncssh.Error, OSError, TimeoutError) as error:
            if isinstance(error, FileNotFoundError | PermissionError):
                raise
            self._forget()
            said = f"silent for {self._place.timeout}" if isinstance(error, TimeoutError) else error
            raise SourceError(f"{self.url}: {what}: {said}") from error
        except (Stopped, SourceError, ConfigurationError):
            self._forget()
            raise

    def _forget(self) -> None:
        """Drop the connection, without waiting for a server that may hang."""
        connection, self._connection, self._sftp = self._connection, None, None
        if connection is not None:
            connection.abort()
            self._calls.run(_ended(connection), threading.Event())

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[tuple[asyncssh.SFTPClient, Patience]]:
        async with patience(self._timeout) as waiting:
            if self._sftp is None:
                self._connection = await self._connected()
                self._sftp = await self._connection.start_sftp_client(path_errors="surrogateescape")
                waiting.heard()
            yield self._sftp, waiting

    async def _connected(self) -> asyncssh.SSHClientConnection:
        place, client = self._place, _HostKey(self._place.pins)
        key = revealed(place.key) if place.key is not None else None
        locked = revealed(place.passphrase) if place.passphrase is not None else None
        try:
            keys = [asyncssh.import_private_key(key, locked)] if key is not None else None
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            raise ConfigurationError(f"Sftp: key= cannot be read: {error}") from error
        try:
            return await asyncssh.connect(
                place.host,
                place.port,
                username=place.user,
                password=revealed(place.password) if place.password is not None else None,
                client_keys=keys,
                client_factory=lambda: client,
                # Nobody's files of this machine decide whom we trust, and as whom we come.
                known_hosts=lambda host, address, port: ([], [], []),
                config=None,
                agent_path=None,
                gss_host=None,
                connect_timeout=_CONNECT_SECONDS,
            )
        except asyncssh.HostKeyNotVerifiable as error:
            raise ConfigurationError(self._refused(client.shown)) from error
        except asyncssh.PermissionDenied as error:
            said = f"{self.url} does not let {place.user!r} in: {error.reason}"
            raise SourceError(said) from error

    def _refused(self, shown: str) -> str:
        pins = ", ".join(self._place.pins)
        pinned = (
            f"not one that host_key= names ({pins})" if pins else "unknown: host_key= names none"
        )
        return (
            f"{self._place.host}:{self._place.port} has the host key {shown}, which is {pinned}. "
            f"Ask who runs the server; if it is theirs, pin it: host_key={shown!r}"
        )

    async def _list(self, recursive: bool, skipped: str) -> Sequence[Entry]:
        found = []
        async with self._client() as (sftp, waiting):
            folders = [""]
            while folders:
                below = folders.pop()
                try:
                    async for entry in sftp.scandir(self._path(below)):
                        waiting.heard()
                        name = posixpath.join(below, str(entry.filename))
                        path = self._path(name)
                        attrs = await _followed(sftp, path, entry.attrs)
                        if attrs is None or entry.filename in (".", ".."):
                            continue
                        if _is_folder(attrs):
                            if recursive and posixpath.normpath(path) != skipped:
                                folders.append(name)
                        elif _is_file(attrs):
                            found.append(Entry(name, _state(attrs)))
                except _NONE:
                    if not below:
                        raise SourceError(f"{self.url} is not there") from None
        return found

    async def _fetch(self, file: Entry, into: BinaryIO) -> None:
        path = self._path(file.name)
        async with self._client() as (sftp, waiting):
            async with sftp.open(path, "rb") as remote:
                left = file.state.size
                while left and (chunk := await remote.read(min(_CHUNK, left))):
                    waiting.heard()
                    into.write(cast(bytes, chunk))  # the file is open as "rb"
                    left -= len(chunk)
            if left or await self._state(path) != file.state:
                raise Truncated

    async def _state(self, path: str) -> State | None:
        async with self._client() as (sftp, _):
            try:
                return _state(await sftp.stat(path))
            except _NONE:
                return None

    async def _move(self, path: str, target: str, digest: str) -> None:
        async with self._client() as (sftp, _):
            await sftp.makedirs(posixpath.dirname(target), exist_ok=True)
            if await sftp.lexists(target):
                target = beside(target, digest)
            await sftp.rename(path, target)

    async def _delete(self, path: str) -> None:
        async with self._client() as (sftp, _):
            try:
                await sftp.remove(path)
            except _NONE:
                return


class _HostKey(asyncssh.SSHClient):
    """Trusts the pinned keys alone, and keeps the fingerprint of what the server showed."""

    def __init__(self, pins: list[str]) -> None:
        self._pins = pins
        self.shown = ""

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        """See asyncssh.SSHClient."""
        self.shown = key.get_fingerprint()
        return self.shown in self._pins


async def _ended(connection: asyncssh.SSHClientConnection) -> None:
    await connection.wait_closed()


async def _followed(
    sftp: asyncssh.SFTPClient, path: str, attrs: asyncssh.SFTPAttrs
) -> asyncssh.SFTPAttrs | None:
    """What an entry is, or the file that a link leads to; None if it has gone, or is a link to
    nothing, or to a folder: one to a folder above would lead in circles."""
    try:
        if attrs.permissions is None:
            attrs = await sftp.lstat(path)
        if not stat.S_ISLNK(attrs.permissions or 0):
            return attrs
        found = await sftp.stat(path)
        return None if _is_folder(found) else found
    except (*_NONE, asyncssh.SFTPPermissionDenied):
        return None


def _is_folder(attrs: asyncssh.SFTPAttrs) -> bool:
    return stat.S_ISDIR(attrs.permissions or 0)


def _is_file(attrs: asyncssh.SFTPAttrs) -> bool:
    kind = stat.S_IFMT(attrs.permissions or 0)
    return kind == stat.S_IFREG or (not kind and attrs.type in (stat.S_IFREG, _TYPE_UNKNOWN, 1))


def _state(attrs: asyncssh.SFTPAttrs) -> State:
    """Size and time of modification are all that version 3 tells: seconds, no inode."""
    nanoseconds = int(attrs.mtime or 0) * 10**9 + int(attrs.mtime_ns or 0)
    return State(attrs.size or 0, nanoseconds, 0, 0)
