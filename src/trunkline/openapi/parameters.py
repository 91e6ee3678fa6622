"""Parameters of an operation: which there are, and how their values are written into a request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trunkline.openapi.document import Document, Unusable
from trunkline.openapi.reading import Pointer
from trunkline.openapi.schemas import Schemas

STYLES = {
    "path": ("simple",),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
}
OURS = frozenset(
    [
        "accept",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "host",
        "idempotency-key",
        "traceparent",
        "transfer-encoding",
    ]
)
"""Headers that the sink sends, or that are no caller's."""
IN_PATH = re.compile(r"\{([^{}]*)\}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter. ``where``: path, query or header; ``json``: it is written as JSON."""

    name: str
    where: str
    required: bool
    schema: Any
    style: str
    explode: bool
    json: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """The parameters of an operation, and the names of the schemas that they refer to."""

    parameters: list[Parameter]
    refers: set[str]


def parameters_of(
    document: Document,
    schemas: Schemas,
    path: str,
    places: Sequence[tuple[Mapping[str, Any], Pointer]],
    notes: list[str],
) -> Found:
    """The parameters that a path and its operation have; a later place replaces what an earlier one
    says of the same. ``notes``: gets what is left out. Raises Unusable."""
    given: dict[tuple[str, str], tuple[dict[str, Any], Pointer]] = {}
    for said, at in places:
        several = said.get("parameters", [])
        if not isinstance(several, list):
            raise Unusable("parameters is a list", (*at, "parameters"))
        for number, one in enumerate(several):
            found, where = document.followed(one, (*at, "parameters", str(number)))
            if not isinstance(found, dict) or not isinstance(found.get("name"), str):
                raise Unusable("a parameter is an object with a name", where)
            given[str(found.get("in")), found["name"]] = found, where
    made: list[Parameter] = []
    refers: set[str] = set()
    for said, at in given.values():
        one, names = _parameter(schemas, said, at, notes)
        if one is not None:
            made.append(one)
            refers |= names
    _require_path(path, made, places[-1][1])
    return Found(made, refers)


def _parameter(
    schemas: Schemas, said: Mapping[str, Any], at: Pointer, notes: list[str]
) -> tuple[Parameter | None, set[str]]:
    name, where, required = said["name"], said.get("in"), said.get("required") is True
    if where == "header" and name.lower() in OURS:
        return None, set()
    if where == "cookie" and not required:
        notes.append(f"its cookie {name[:100]} is left out")
        return None, set()
    if where not in STYLES:
        raise Unusable(f"its parameter {name[:100]!r} is in {str(where)[:50]!r}", at)
    if where == "header" and not _HEADER.fullmatch(name):
        raise Unusable(f"its header {name[:100]!r} is no name of one", at)
    style = said.get("style", STYLES[where][0])
    if style not in STYLES[where]:
        raise Unusable(f"its parameter {name[:100]!r} has the style {str(style)[:50]!r}", at)
    explode = said.get("explode", style in ("form", "deepObject"))
    schema, place, is_json = said.get("schema", True), (*at, "schema"), False
    content = said.get("content")
    if isinstance(content, dict) and content:
        media = next(iter(content))
        if media.partition(";")[0].strip() != "application/json":
            raise Unusable(f"its parameter {name[:100]!r} is {media[:100]}, and no JSON", at)
        inside = content[media] if isinstance(content[media], dict) else {}
        schema, place, is_json = (
            inside.get("schema", True),
            (*at, "content", media, "schema"),
            True,
        )
    converted, refers = schemas.converted(schema, place)
    made = Parameter(
        name=name,
        where=str(where),
        required=required or where == "path",
        schema=converted,
        style=str(style),
        explode=explode is True,
        json=is_json,
        description=str(said.get("description") or "")[:1_000],
    )
    return made, refers


def _require_path(path: str, made: Iterable[Parameter], at: Pointer) -> None:
    """Raises Unusable where what is in the path is not what is described."""
    needed = set(IN_PATH.findall(path))
    have = {one.name for one in made if one.where == "path"}
    for name in sorted(needed - have):
        raise Unusable(f"{{{name[:100]}}} of its path is no parameter", at)
    for name in sorted(have - needed):
        raise Unusable(f"its parameter {name[:100]!r} is not in its path", at)
    if re.search(r"[{}]", IN_PATH.sub("", path)):
        raise Unusable("its path has braces that are no parameter", at)
