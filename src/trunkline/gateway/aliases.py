"""URLs by resource: what operations have for an address besides their own, after Google's AIP-131
to 136 (get, list, create, update, delete, and custom methods)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from trunkline.gateway.catalog import Offered
from trunkline.gateway.problems import Problem
from trunkline.schemas import avro
from trunkline.schemas.plain.parse import parse

_ON_ALL = {"create": "POST", "list": "GET"}
_ON_ONE = {"get": "GET", "replace": "PUT", "update": "PATCH", "delete": "DELETE"}
OWN = "operations"
"""The resource that is none: its URLs are those of operations by their names."""


class Place(NamedTuple):
    """Where an operation is: ``verb`` is that of a custom method, "" for a standard one; ``one``:
    whether it is at the URL of one entity."""

    method: str
    system: str
    resource: str
    one: bool
    verb: str

    @property
    def path(self) -> str:
        """The URL, as OpenAPI writes it."""
        end = f":{self.verb}" if self.verb else ""
        return f"/v1/systems/{self.system}/{self.resource}{'/{id}' if self.one else ''}{end}"


def place_of(offered: Offered) -> Place:
    """The place of an operation; two may have the same."""
    policy = offered.policy
    named = offered.system, policy.resource
    if policy.verb in _ON_ALL:
        return Place(_ON_ALL[policy.verb], *named, False, "")
    one = bool(policy.key) and policy.verb != "search"
    if one and policy.verb in _ON_ONE:
        return Place(_ON_ONE[policy.verb], *named, True, "")
    return Place("POST", *named, one, policy.verb)


class Aliases:
    """The places of operations that are one operation's alone."""

    def __init__(self, offered: Iterable[Offered]) -> None:
        found: dict[Place, list[Offered]] = {}
        for one in offered:
            if one.form is not None:
                continue  # a document's path is the system's: here it has its name alone
            found.setdefault(place_of(one), []).append(one)
        self._places = {place: its[0] for place, its in found.items() if len(its) == 1}

    def find(self, method: str, system: str, rest: str) -> tuple[Offered, str]:
        """The operation at ``rest`` of a system's URL, and the id in it. Raises Problem."""
        resource, slash, id_ = rest.partition("/")
        verb = ""
        if method == "POST":
            last, colon, named = (id_ if slash else resource).rpartition(":")
            if colon:
                verb = named
                resource, id_ = (resource, last) if slash else (last, "")
        place = Place(method, system, resource, bool(id_), verb)
        offered = self._places.get(place)
        if offered is None or (slash and not id_):
            others = {
                one.method for one in self._places if one == place._replace(method=one.method)
            }
            if others and not (slash and not id_):
                raise Problem("method-not-allowed", headers={"Allow": ", ".join(sorted(others))})
            raise Problem("not-found", f"no operation is at {method} {resource[:100]}")
        return offered, id_

    def of(self, offered: Offered) -> Place | None:
        """The place of an operation, if it is its alone."""
        place = place_of(offered)
        return place if self._places.get(place) is offered else None


def from_url(offered: Offered, id_: str, query: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """What a URL says of the request, as plain JSON: the entity's key, and the parameters of a
    GET. A parameter that stands twice is a list."""
    types = {field["name"]: field["type"] for field in offered.schema.parsed["fields"]}
    given: dict[str, list[str]] = {}
    for name, text in query:
        given.setdefault(name, []).append(text)
    found: dict[str, Any] = {
        name: [_plain(t, types.get(name)) for t in texts]
        if len(texts) > 1 or _kind(types.get(name)) == "array"
        else _plain(texts[0], types.get(name))
        for name, texts in given.items()
    }
    if id_:
        found[offered.policy.key] = _plain(id_, types[offered.policy.key])
    return found


def _kind(schema: Any) -> str:
    if schema is None:
        return ""
    if isinstance(schema, list):
        return next((avro.kind(one) for one in schema if avro.kind(one) != "null"), "null")
    return avro.kind(schema)


def _plain(text: str, schema: Any) -> Any:
    """A text of a URL as JSON writes it; the text itself where it is no value of that type, which
    the reader of the request says then."""
    kind = _kind(schema)
    if kind == "array":
        branches = schema if isinstance(schema, list) else [schema]
        items = next(one["items"] for one in branches if avro.kind(one) == "array")
        return _plain(text, items)
    if kind in ("int", "float", "double", "boolean"):
        try:
            return parse(text.encode())  # exactly: 1.10 is no float
        except ValueError:
            return text
    return text
