"""How much a client may call: in ``access.toml``, and as an operator has changed it since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

PREFIX = "quota/"
"""What the keys of changed limits begin with, in the control topic of all gateways."""
MAX_LIMIT = 1_000_000_000
MAX_PER_SECOND = 10_000


class Quota(BaseModel):
    """The limits of a client: units in a second, in a minute, in a day. None: no such limit."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    per_second: int | None = Field(default=None, ge=1, le=MAX_PER_SECOND)
    per_minute: int | None = Field(default=None, ge=1, le=MAX_LIMIT)
    per_day: int | None = Field(default=None, ge=1, le=MAX_LIMIT)

    def words(self) -> str:
        """It, as people read it."""
        given = {"second": self.per_second, "minute": self.per_minute, "day": self.per_day}
        told = [f"{limit} per {window}" for window, limit in given.items() if limit is not None]
        return ", ".join(told) or "no limit"


UNLIMITED = Quota()


def quota_key(client: str) -> str:
    """The key of the record that changes a client's limits."""
    return f"{PREFIX}{client}"


def parsed_quota(key: bytes | None, value: bytes | None) -> tuple[str, Quota | None] | None:
    """The client and the limits that a record gives it, None for those of the file; None for what
    is no such record, whoever wrote it."""
    name = (key or b"").decode(errors="replace")
    client = name.removeprefix(PREFIX)
    if client == name or not client:
        return None
    if value is None:
        return client, None
    try:
        return client, Quota.model_validate(orjson.loads(value))
    except (ValidationError, ValueError):
        return None


class Quotas:
    """The limits of all clients: the operators' word over that of the file."""

    def __init__(self) -> None:
        self._changed: dict[str, Quota] = {}

    def heard(self, key: bytes | None, value: bytes | None) -> None:
        """Take in a record of the control topic."""
        if (found := parsed_quota(key, value)) is None:
            return
        client, quota = found
        if quota is None:
            self._changed.pop(client, None)
        else:
            self._changed[client] = quota

    def of(self, client: str, in_file: Quota) -> Quota:
        """The limits of a client that hold now."""
        return self._changed.get(client, in_file)

    @property
    def changed(self) -> Mapping[str, Quota]:
        """Those that operators have given."""
        return self._changed


def as_record(quota: Quota) -> dict[str, Any]:
    """What stands in the control topic."""
    return quota.model_dump(exclude_none=True)
