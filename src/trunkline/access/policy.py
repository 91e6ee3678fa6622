"""What ``access.toml`` says: clients, the hashes of their keys, and what each may call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from trunkline.access.issuers import IssuerEntry, RoleEntry
from trunkline.access.keys import is_key, key_id
from trunkline.access.quota import UNLIMITED, Quota

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
CLIENT_NAME = r"[A-Za-z0-9][\x21-\x7e]{0,299}"
"""What a client may be called that is known by a token, and every other."""


class KeyEntry(BaseModel):
    """A key in the file: ``[[clients.<name>.keys]]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z0-9]{12}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    created: AwareDatetime | None = None
    expires: AwareDatetime | None = None


class ClientEntry(BaseModel):
    """A client in the file: ``[clients.<name>]``. ``call``: patterns of ``system/operation`` that
    it may call; ``resolve``: of those whose calls it may decide, in doubt or not; ``roles``: as
    operations name them that must be approved; ``publish``: patterns of topics; ``quota``: how much
    it may call."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    call: list[str] = []
    resolve: list[str] = []
    roles: list[str] = []
    publish: list[str] = []
    quota: Quota = UNLIMITED
    keys: list[KeyEntry] = []


class AccessTable(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clients: dict[str, ClientEntry] = {}
    issuers: dict[str, IssuerEntry] = {}
    roles: dict[str, RoleEntry] = {}


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody whose key was right. ``call``, ``resolve``: patterns of operations; ``publish``: of
    topics; ``quota``: its limits, as the file has them; ``by``: its key's id, or ``token``."""

    name: str
    call: tuple[str, ...]
    resolve: tuple[str, ...] = ()
    publish: tuple[str, ...] = ()
    roles: frozenset[str] = frozenset()
    quota: Quota = UNLIMITED
    by: str = ""

    def may_call(self, system: str, operation: str) -> bool:
        """Whether it may call an operation of a system."""
        return bool(self.right_to("call", f"{system}/{operation}"))

    def may_resolve(self, system: str, operation: str) -> bool:
        """Whether it may decide of others' calls of an operation."""
        return bool(self.right_to("resolve", f"{system}/{operation}"))

    def may_publish(self, topic: str) -> bool:
        """Whether it may send events of a topic."""
        return bool(self.right_to("publish", topic))

    def right_to(self, do: Literal["call", "resolve", "publish"], on: str) -> str:
        """The pattern by which it may do that, "" if it may not."""
        patterns: tuple[str, ...] = getattr(self, do)
        return next((pattern for pattern in patterns if fnmatchcase(on, pattern)), "")


class AccessPolicy:
    """Knows clients by their keys. Immutable: a changed file is a new one."""

    def __init__(self, table: AccessTable) -> None:
        self.clients: Mapping[str, ClientEntry] = table.clients
        self.issuers: Mapping[str, IssuerEntry] = table.issuers
        self._roles = table.roles
        self._keys = {
            key.id: (key, _client(name, client, key.id))
            for name, client in table.clients.items()
            for key in client.keys
        }

    def client_of_token(self, issuer: str, subject: str, roles: Iterable[str]) -> Client:
        """The client that a token is of, which an issuer of the file has named so. Its name holds a
        colon, as no name in the file does: nobody becomes another by what an issuer calls them."""
        roles = frozenset(roles)
        given = [self._roles[role] for role in sorted(roles & self._roles.keys())]
        return Client(
            f"{issuer}:{subject}",
            tuple(pattern for role in given for pattern in role.call),
            tuple(pattern for role in given for pattern in role.resolve),
            tuple(pattern for role in given for pattern in role.publish),
            roles,
            self.issuers[issuer].quota,
            "token",
        )

    def client_of(self, key: str, now: datetime | None = None) -> Client | None:
        """The client whose key this is; None for any other text, and for a key that is expired."""
        found = self._keys.get(key_id(key))
        if found is None or not is_key(key, found[0].sha256):
            return None
        expires = found[0].expires
        if expires is not None and expires <= (now or datetime.now(UTC)):
            return None
        return found[1]


def _client(name: str, entry: ClientEntry, key: str) -> Client:
    return Client(
        name,
        tuple(entry.call),
        tuple(entry.resolve),
        tuple(entry.publish),
        frozenset(entry.roles),
        entry.quota,
        key,
    )
