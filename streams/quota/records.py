"""The records of the topic ``trunkline.limits``: what workers say to each other, as JSON.

A worker demands, the coordinator grants, whoever wants to be coordinator claims, and who stops has
left. ``record_of`` trusts nothing of what it reads: the topic can be written by another version,
another program or a person, and a number that is none would be in the arithmetic of every worker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, NamedTuple, cast

import orjson

from trunkline.streams.quota.fair_share import Share

MAX_TEXT = 1_000
"""Characters that a name may have: a flow's and a destination's fit in several times."""

MAX_COUNT = 2**53
"""Numbers that count something: terms, requests, calls. No log has as many offsets."""


class ClientId(NamedTuple):
    """Who has a share: a member (one worker process) and the number of its gate there."""

    member: str
    client: str


class GrantId(NamedTuple):
    """Names a grant: the coordinator's term and the number within it. They grow along the log."""

    term: int
    number: int


BEFORE_ALL = GrantId(-1, -1)
"""What a member has applied that has read no grant yet."""


@dataclass(frozen=True, slots=True)
class ClientDemand:
    """What one client says of itself.

    ``limit``: the key of the limit that it shares; ``who``: its destination, for messages;
    ``whole``: the limit as it knows it; ``wants``: what it could use; ``holds``: what it may be
    using; ``grace``: seconds that a call of it may last.
    """

    limit: str
    who: str
    whole: Share
    wants: Share
    holds: Share
    grace: float


@dataclass(frozen=True, slots=True)
class Demand:
    """A member speaks for its clients, by their numbers. ``request`` grows with each demand;
    ``applied``: the newest grant that it has read."""

    member: str
    request: int
    applied: GrantId
    clients: Mapping[str, ClientDemand]

    def to_json(self) -> dict[str, Any]:
        """The record as it stands in the topic."""
        clients = {number: _of_client(said) for number, said in self.clients.items()}
        body = {"member": self.member, "request": self.request, "applied": list(self.applied)}
        return {"demand": {**body, "clients": clients}}

    @classmethod
    def from_json(cls, value: object) -> Demand:
        """The demand of a record's body. Raises ValueError for what is none."""
        body = _object(value)
        clients = {_text(n): _client(said) for n, said in _object(body["clients"]).items()}
        applied = GrantId(*(_count(n, least=-1) for n in _pair(body["applied"])))
        return cls(_text(body["member"]), _count(body["request"]), applied, clients)


@dataclass(frozen=True, slots=True)
class Grant:
    """A client's share from now on. ``request``: the demand that it answers; ``credit``: events
    that may be sent at once, beside the rate."""

    client: ClientId
    limit: str
    request: int
    share: Share
    credit: float = 0.0


@dataclass(frozen=True, slots=True)
class Grants:
    """What the coordinator grants in one record; ``id`` names all of it. ``gone``: clients, each
    with its limit, that neither use nor want any of it since its last record."""

    id: GrantId
    grants: Sequence[Grant]
    gone: Sequence[tuple[ClientId, str]] = ()

    def to_json(self) -> dict[str, Any]:
        """The record as it stands in the topic."""
        grants = [
            {
                "member": grant.client.member,
                "client": grant.client.client,
                "limit": grant.limit,
                "request": grant.request,
                "share": _of_share(grant.share),
                "credit": grant.credit,
            }
            for grant in self.grants
        ]
        gone = [{**client._asdict(), "limit": limit} for client, limit in self.gone]
        return {"grants": {**self.id._asdict(), "grants": grants, "gone": gone}}

    @classmethod
    def from_json(cls, value: object) -> Grants:
        """The grants of a record's body. Raises ValueError for what is none."""
        body = _object(value)
        return cls(
            GrantId(_count(body["term"]), _count(body["number"])),
            tuple(_grant(_object(one)) for one in _list(body["grants"])),
            tuple(_gone(_object(one)) for one in _list(body["gone"])),
        )


@dataclass(frozen=True, slots=True)
class Candidacy:
    """A member is coordinator from here on in the log."""

    member: str

    def to_json(self) -> dict[str, Any]:
        """The record as it stands in the topic."""
        return {"claim": asdict(self)}

    @classmethod
    def from_json(cls, value: object) -> Candidacy:
        """The claim of a record's body. Raises ValueError for what is none."""
        return cls(_text(_object(value)["member"]))


@dataclass(frozen=True, slots=True)
class Left:
    """A member has stopped and uses nothing more."""

    member: str

    def to_json(self) -> dict[str, Any]:
        """The record as it stands in the topic."""
        return {"left": asdict(self)}

    @classmethod
    def from_json(cls, value: object) -> Left:
        """The leave of a record's body. Raises ValueError for what is none."""
        return cls(_text(_object(value)["member"]))


QuotaRecord = Demand | Grants | Candidacy | Left

_KINDS: Mapping[str, Callable[[object], QuotaRecord]] = {
    "demand": Demand.from_json,
    "grants": Grants.from_json,
    "claim": Candidacy.from_json,
    "left": Left.from_json,
}


def record_of(value: bytes) -> QuotaRecord:
    """The record of a message's value. Raises ValueError for what is none, and says why."""
    body = _object(orjson.loads(value))
    kinds = body.keys() & _KINDS.keys()
    if len(kinds) != 1:
        raise ValueError(f"it is none of {', '.join(_KINDS)}")
    (kind,) = kinds
    try:
        return _KINDS[kind](body[kind])
    except KeyError as missing:
        raise ValueError(f"its {kind} has no {missing}") from None
    except ValueError as error:
        raise ValueError(f"its {kind}: {error}") from None


def _of_client(said: ClientDemand) -> dict[str, Any]:
    return {
        "limit": said.limit,
        "who": said.who,
        "whole": _of_share(said.whole),
        "wants": _of_share(said.wants),
        "holds": _of_share(said.holds),
        "grace": said.grace,
    }


def _client(value: object) -> ClientDemand:
    said = _object(value)
    return ClientDemand(
        _text(said["limit"]),
        _text(said["who"]),
        _share(said["whole"]),
        _share(said["wants"]),
        _share(said["holds"]),
        _amount(said["grace"]),
    )


def _grant(one: Mapping[str, Any]) -> Grant:
    return Grant(
        ClientId(_text(one["member"]), _text(one["client"])),
        _text(one["limit"]),
        _count(one["request"], least=-1),  # a client that nobody has heard of has none
        _share(one["share"]),
        _amount(one["credit"]),
    )


def _gone(one: Mapping[str, Any]) -> tuple[ClientId, str]:
    return ClientId(_text(one["member"]), _text(one["client"])), _text(one["limit"])


def _of_share(share: Share) -> list[float | None]:
    return [share.rate, share.calls]


def _share(value: object) -> Share:
    rate, calls = _pair(value)
    return Share(None if rate is None else _amount(rate), None if calls is None else _count(calls))


def _object(value: object) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    raise ValueError(f"{_shown(value)} is no object")


def _list(value: object) -> list[Any]:
    if isinstance(value, list):
        return value
    raise ValueError(f"{_shown(value)} is no list")


def _pair(value: object) -> list[Any]:
    if len(pair := _list(value)) != 2:
        raise ValueError(f"{_shown(value)} is no pair")
    return pair


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or len(value) > MAX_TEXT:
        raise ValueError(f"{_shown(value)} is no name")
    return value


def _count(value: object, least: int = 0) -> int:
    # A bool is an int for Python, and true would be one call.
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MAX_COUNT:
        raise ValueError(f"{_shown(value)} is no count")
    return value


def _amount(value: object) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    amount = cast(float, value) if is_number else -1.0
    if isfinite(amount) and amount >= 0:
        return amount
    raise ValueError(f"{_shown(value)} is no amount")


def _shown(value: object) -> str:
    return repr(value)[:80]
