"""Which contents were read, as a source's position remembers them: small, in parts, and bounded."""

from __future__ import annotations

import base64
import struct
from collections.abc import Collection, Mapping
from typing import NamedTuple

from trunkline.errors import ConfigurationError, SourceError

_PARTS = 1024
"""A part has the contents of some paths: only it is written when one of them was read."""
_PACKED = struct.Struct(">8s12s8s8sQ")
_CLEAN = 1 << 63
UNOPENED = bytes(12)
"""The content of a file that cannot be opened."""


class Content(NamedTuple):
    """A content that was read under its path.

    ``path``: 8 bytes of the path's digest. ``digest``: 12 bytes of the content's SHA-256.
    ``state``: 8 bytes of the digest of the file's ``State``. ``origin``: 8 bytes of the digest of
    the content that this one and others have grown from; its own if there is none. ``size``: its
    bytes. ``clean``: the last line is complete, so that rows which are appended begin behind it.
    """

    path: bytes
    digest: bytes
    state: bytes
    origin: bytes
    size: int
    clean: bool


class Memory:
    """The contents that were read, at most ``limit``. For one thread.

    ``parts``: all of it, as JSON for ``Position``; another dict after each change.
    """

    def __init__(self, parts: Mapping[str, str], limit: int) -> None:
        self.parts: dict[str, str] = dict(parts)
        self._limit = limit
        self._contents: list[list[Content]] = [[] for _ in range(_PARTS)]
        self._newest: dict[bytes, Content] = {}
        self._count = 0
        for name, text in parts.items():
            for content in _unpacked(text):
                self._contents[int(name, 16)].append(content)
                self._newest[content.path] = content
                self._count += 1
        self._changed: set[int] = set()

    def newest(self, path: bytes) -> Content | None:
        """The content that was read last under this path."""
        return self._newest.get(path)

    def of(self, path: bytes) -> list[Content]:
        """All that were read under this path and are not forgotten, the oldest first."""
        return [content for content in self._contents[_part(path)] if content.path == path]

    def add(self, content: Content, there: Collection[bytes]) -> None:
        """Remember a content, as the newest of its path.

        Forgets older ones if there are too many, first those whose path is not in ``there``, the
        paths of the files that the folder has now, or has another content now. Raises SourceError
        if there is no such one.
        """
        part = _part(content.path)
        contents = self._contents[part]
        self._count += 1 - len(contents)
        if content.path in self._newest:
            contents[:] = [old for old in contents if old[:2] != content[:2]]
        self._count += len(contents)
        contents.append(content)
        self._newest[content.path] = content
        self._changed.add(part)
        if self._count > self._limit:
            self._forget(part, there)

    def save(self) -> dict[str, str]:
        """``parts`` with all changes."""
        if self._changed:
            changed = {f"{part:03x}": _packed(self._contents[part]) for part in self._changed}
            self.parts = {**self.parts, **changed}
            self._changed.clear()
        return self.parts

    def _forget(self, part: int, there: Collection[bytes]) -> None:
        for index in (*range(part, _PARTS), *range(part)):
            for content in self._contents[index]:
                if content.path not in there or self._newest[content.path] is not content:
                    self._contents[index].remove(content)
                    if self._newest[content.path] is content:
                        del self._newest[content.path]
                    self._changed.add(index)
                    self._count -= 1
                    return
        raise SourceError(
            f"the folder has more files that were read than remember={self._limit}: move them "
            "away (after=) or raise remember="
        )


def _part(path: bytes) -> int:
    return int.from_bytes(path[:2], "big") % _PARTS


def _packed(contents: list[Content]) -> str:
    rows = (
        _PACKED.pack(path, digest, state, origin, size | _CLEAN * clean)
        for path, digest, state, origin, size, clean in contents
    )
    return base64.b64encode(b"".join(rows)).decode()


def _unpacked(text: str) -> list[Content]:
    try:
        return [
            Content(path, digest, state, origin, size & ~_CLEAN, bool(size & _CLEAN))
            for path, digest, state, origin, size in _PACKED.iter_unpack(base64.b64decode(text))
        ]
    except (ValueError, struct.error) as error:
        raise ConfigurationError(f"the position is none of FileSource's: {error}") from error
