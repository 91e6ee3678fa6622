"""``access.toml``: read, followed, and edited without losing what people wrote in it."""

from __future__ import annotations

import os
import re
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trunkline.access.keys import NewKey
from trunkline.access.policy import NAME, AccessPolicy, AccessTable
from trunkline.errors import ConfigurationError, MissingExtra
from trunkline.toml_text import tables_of

MAX_KEYS = 2
"""Valid keys of one client: the old one and the new one while they are exchanged."""
_PATTERN = re.compile(r"[A-Za-z0-9._*?-]+/[A-Za-z0-9._*?-]+")


def load_policy(path: Path) -> AccessPolicy:
    """The policy of a file. Raises ConfigurationError, which says what in it is wrong and never
    shows a value."""
    return AccessPolicy(parsed_table(path, _read(path)))


def parsed_table(path: Path, text: str) -> AccessTable:
    """The table of a file's text. Raises as ``load_policy``."""
    try:
        tables = tables_of(text)
    except ValueError as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from None
    try:
        table = AccessTable.model_validate(tables)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        told = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found]
        raise ConfigurationError(f"{path} is wrong: " + "; ".join(told)) from None
    ids = [key.id for client in table.clients.values() for key in client.keys]
    if twice := sorted({id_ for id_ in ids if ids.count(id_) > 1}):
        raise ConfigurationError(f"{path}: the key {twice[0]} is there twice: take one of them out")
    for name in (*table.clients, *table.issuers):
        _require_name(f"{path}: ", name)
    for kind, entries in (("clients", table.clients), ("roles", table.roles)):
        for name, entry in entries.items():
            for right in ("call", "resolve"):
                for pattern in getattr(entry, right):
                    _require_pattern(f"{path}: {kind}.{name}.{right}: ", pattern)
    issuers = [entry.issuer for entry in table.issuers.values()]
    if twice := sorted({one for one in issuers if issuers.count(one) > 1}):
        raise ConfigurationError(f"{path}: the issuer {twice[0]} is there twice")
    return table


class PolicyFile:
    """The newest policy of a file. Not for several threads.

    A file that has become wrong keeps the policy before it: ``trouble`` says why. So a typing error
    locks nobody out; but it must be seen, since a key that was revoked in it is still good.
    """

    trouble: str = ""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._stamp()
        self.policy = load_policy(path)

    def refresh(self) -> bool:
        """Read the file again if it has changed; whether it had. Call it once a second."""
        stamp = self._stamp()
        if stamp == self._seen and not self.trouble:
            return False
        try:
            policy = load_policy(self._path)
        except ConfigurationError as error:
            changed, self.trouble = str(error) != self.trouble, str(error)
            return changed
        self._seen, self.policy, self.trouble = stamp, policy, ""
        return True

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


class AccessEditor:
    """Edits the file in place: comments and order stay. Each method writes the whole file anew and
    moves it into its place, so that a reader sees it before or after. Raises ConfigurationError."""

    def __init__(self, path: Path) -> None:
        try:
            import tomlkit
        except ImportError:
            raise MissingExtra("editing access.toml", "gateway") from None
        self._kit: Any = tomlkit
        self._path = path
        self._text = _read(path) if path.exists() else ""
        self.policy = AccessPolicy(parsed_table(path, self._text))
        self._document: Any = tomlkit.parse(self._text)

    def add_key(
        self, client: str, key: NewKey, *, now: datetime, expires: datetime | None = None
    ) -> None:
        """Give a client, who may be new, a key."""
        _require_name("", client)
        entry = self._client(client, create=True)
        good = [k for k in self._keys(client) if k.expires is None or k.expires > now]
        if len(good) >= MAX_KEYS:
            raise ConfigurationError(
                f"{client} has {len(good)} valid keys, and {MAX_KEYS} are enough to exchange one: "
                f"revoke one first: trunkline access revoke {good[0].id}"
            )
        table = self._kit.table()
        table.add("id", key.id)
        table.add("sha256", key.sha256)
        table.add("created", now.replace(microsecond=0))
        if expires is not None:
            table.add("expires", expires.replace(microsecond=0))
        if "keys" not in entry:
            entry.add("keys", self._kit.aot())
        entry["keys"].append(table)
        self._write()

    def allow(self, client: str, pattern: str) -> None:
        """Let a client call what a pattern of ``system/operation`` matches."""
        _require_pattern("", pattern)
        entry = self._client(client)
        if pattern not in entry.get("call", []):
            if "call" not in entry:
                entry["call"] = self._kit.array()
            entry["call"].append(pattern)
            self._write()

    def deny(self, client: str, pattern: str) -> None:
        """Take a pattern from a client that has it, written exactly so."""
        entry = self._client(client)
        if pattern not in entry.get("call", []):
            has = ", ".join(entry.get("call", [])) or "nothing"
            raise ConfigurationError(f"{client} has no pattern {pattern!r}: it may call {has}")
        entry["call"].remove(pattern)
        self._write()

    def revoke(self, id_: str) -> str:
        """Take a key out; returns whose it was."""
        for name in self.policy.clients:
            for index, key in enumerate(self._keys(name)):
                if key.id == id_:
                    del self._client(name)["keys"][index]
                    self._write()
                    return name
        raise ConfigurationError(f"there is no key {id_!r}: see trunkline access list")

    def _keys(self, client: str) -> list[Any]:
        found = self.policy.clients.get(client)
        return list(found.keys) if found else []

    def _client(self, name: str, *, create: bool = False) -> Any:
        if name not in self.policy.clients and not create:
            known = ", ".join(sorted(self.policy.clients)) or "nobody"
            raise ConfigurationError(f"there is no client {name!r}: there is {known}")
        if "clients" not in self._document:
            self._document.add("clients", self._kit.table(is_super_table=True))
        clients = self._document["clients"]
        if name not in clients:
            clients.add(name, self._kit.table())
            clients[name].add("call", self._kit.array())
        return clients[name]

    def _write(self) -> None:
        text = self._kit.dumps(self._document)
        self.policy = AccessPolicy(parsed_table(self._path, text))
        # Case: revoked by one, and allowed something by another who has read the file before. The
        # key would be good again, and nobody be told.
        if (_read(self._path) if self._path.exists() else "") != self._text:
            raise ConfigurationError(f"{self._path} was changed meanwhile: do it once more")
        self._text = text
        mode = self._path.stat().st_mode & 0o777 if self._path.exists() else 0o644
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, mode)
        os.replace(name, self._path)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path} is not there: make it with trunkline access issue CLIENT --file {path}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None


def _require_name(where: str, client: str) -> None:
    # A call's id is made of its client's name and others, a line each: none may hold a line's end.
    if not re.fullmatch(NAME, client):
        raise ConfigurationError(
            f"{where}client {client!r}: a name has up to 100 letters, digits, '.', '_' and '-'"
        )


def _require_pattern(where: str, pattern: str) -> None:
    if not _PATTERN.fullmatch(pattern):
        raise ConfigurationError(
            f"{where}{pattern!r} is no pattern: write SYSTEM/OPERATION, as erp/correct_order, "
            "erp/* or */get_*"
        )
