"""The file that an import leaves: one OpenAPI 3.1 document of what can be used, with where it came
from and digests. Imported again it is the same, byte for byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any

from trunkline.errors import ConfigurationError
from trunkline.openapi.api import Api, ApiOperation
from trunkline.openapi.parameters import Parameter

PIN = "x-trunkline-import"
"""The member that says where a pinned document came from."""


def pinned(api: Api, source: str, body: bytes, only: Collection[str] = ()) -> str:
    """The text of the file to pin. ``source``: where ``body`` came from; ``only``: names or ids of
    operations, all by default. Raises ConfigurationError for a name that is none."""
    chosen = select(api, only)
    document = _document(api, chosen)
    before = api.document.value.get(PIN)
    origin = {"source": source, "sha256": hashlib.sha256(body).hexdigest()}
    if isinstance(before, dict) and isinstance(before.get("source"), str):
        origin = {name: before.get(name, "") for name in ("source", "sha256")}  # pinned once more
    origin["content"] = _digest(document)
    return (
        json.dumps({PIN: origin, **document}, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    )


def origin_of(api: Api) -> dict[str, Any]:
    """Where a pinned document came from; {} for one that is not pinned. Raises ConfigurationError
    for one that was changed by hand."""
    found = api.document.value.get(PIN)
    if not isinstance(found, dict):
        return {}
    rest = {name: value for name, value in api.document.value.items() if name != PIN}
    if found.get("content") != _digest(rest):
        raise ConfigurationError(
            f"it is not as it was imported from {found.get('source')}: import it again, or take "
            f"the member {PIN} out of a document that is yours"
        )
    return found


def select(api: Api, only: Iterable[str]) -> list[ApiOperation]:
    """The operations of these names or ids, or all. Raises ConfigurationError."""
    by_name = {one.id: one for one in api.operations} | {one.name: one for one in api.operations}
    refused = {one.id: one for one in api.unsupported}
    found = []
    for name in only:
        if name in by_name:
            found.append(by_name[name])
        elif name in refused:
            why = refused[name]
            raise ConfigurationError(
                f"the operation {name!r} cannot be imported: line {why.line}: {why.reason}"
            )
        else:
            near = get_close_matches(name, by_name, 1)
            told = f": did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(f"the document has no operation {name!r}{told}")
    return found or [*api.operations]


def _digest(document: Any) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _document(api: Api, chosen: Iterable[ApiOperation]) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    refers: set[str] = set()
    for one in sorted(chosen, key=lambda one: (one.path, one.method)):
        paths.setdefault(one.path, {})[one.method] = _operation(one)
        refers |= one.refers | one.reply_refers
    made: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": api.title, "version": api.version},
    }
    if api.servers:
        made["servers"] = [{"url": url} for url in api.servers]
    made["paths"] = paths
    made["components"] = {"schemas": api.schemas.closure(refers)}
    return made


def _operation(one: ApiOperation) -> dict[str, Any]:
    made: dict[str, Any] = {"operationId": one.name}
    texts = {"summary": one.summary, "description": one.description}
    made |= {name: text for name, text in texts.items() if text}
    if one.tag:
        made["tags"] = [one.tag]
    if one.deprecated:
        made["deprecated"] = True
    if one.arguments:
        made["parameters"] = [_parameter(p) for p in one.arguments.values()]
    if one.body is not None:
        body: dict[str, Any] = {"required": True} if one.body_required else {}
        made["requestBody"] = body | {"content": {one.media: {"schema": one.body}}}
    made["responses"] = {
        status: {"description": ""}
        | ({} if schema is None else {"content": {"application/json": {"schema": schema}}})
        for status, schema in one.replies.items()
    }
    return made


def _parameter(one: Parameter) -> dict[str, Any]:
    made: dict[str, Any] = {"name": one.name, "in": one.where}
    if one.description:
        made["description"] = one.description
    if one.required:
        made["required"] = True
    if one.json:
        return made | {"content": {"application/json": {"schema": one.schema}}}
    return made | {"style": one.style, "explode": one.explode, "schema": one.schema}
