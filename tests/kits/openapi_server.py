"""An HTTP API that is made of an OpenAPI document alone: it holds each request against the document
by another validator than ours, and answers what the document describes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from openapi_schema_validator import OAS30Validator, OAS31Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from threaded_server import ThreadedServer
from trunkline.local.ports import free_port
from trunkline.openapi.api import Api, ApiOperation
from trunkline.openapi.document import reference_to
from trunkline.openapi.schemas import PREFIX

DOCUMENT = "urn:document"


@dataclass
class DocumentServer(ThreadedServer):
    """A context manager. ``asked``: the names of the operations that were asked for, in their
    order; ``wrong``: what of their requests was not as the document has it."""

    api: Api
    asked: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        value = self.api.document.value
        resource = Resource(contents=value, specification=DRAFT202012)
        self._registry: Any = Registry().with_resource(DOCUMENT, resource)
        old = self.api.document.version.startswith("3.0")
        self._validator = OAS30Validator if old else OAS31Validator
        self._routes = [(_pattern(one), one) for one in self.api.operations]
        # The one with fewer parameters first, as OpenAPI matches concrete paths before others.
        self._routes.sort(key=lambda pair: pair[1].path.count("{"))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _listen(self) -> None:
        app = web.Application(client_max_size=8_000_000)
        app.router.add_route("*", "/{rest:.*}", self._take)
        await self._serve(app, self.port)

    async def _take(self, request: web.Request) -> web.Response:
        path, _, query = request.raw_path.partition("?")
        found = self._found(request.method, path, query)
        if found is None:
            self.wrong.append(f"{request.method} {request.raw_path} is not in the document")
            return web.json_response({"code": "NOWHERE"}, status=404)
        operation, given = found
        said = [*self._wrong_path(operation, given), *self._wrong_rest(operation, request)]
        said += self._wrong_body(operation, request, await request.read())
        self.asked.append(operation.name)
        if said:
            self.wrong += [f"{operation.name}: {one}" for one in said]
            return web.json_response({"code": "WRONG", "errors": said[:5]}, status=400)
        status, schema = next(iter(operation.replies.items()), ("200", None))
        status = status if status.isdecimal() else "200"
        if schema is None:
            return web.Response(status=int(status))
        return web.json_response(example(self.api, schema), status=int(status))

    def _found(
        self, method: str, path: str, query: str
    ) -> tuple[ApiOperation, Mapping[str, str]] | None:
        for pattern, one in self._routes:
            fixed = one.path.partition("?")[2]
            if one.method.upper() == method and fixed in query and (m := pattern.fullmatch(path)):
                names = re.findall(r"\{([^{}]*)\}", one.path)
                return one, dict(zip(names, map(unquote, m.groups()), strict=True))
        return None

    def _wrong_path(self, operation: ApiOperation, given: Mapping[str, str]) -> list[str]:
        plain = {p.name: p for p in operation.arguments.values() if p.where == "path"}
        return [f"{name} is empty" for name in plain if not given.get(name)]

    def _wrong_rest(self, operation: ApiOperation, request: web.Request) -> list[str]:
        wrong = []
        for one in operation.arguments.values():
            if one.required and one.where == "header" and one.name not in request.headers:
                wrong.append(f"the header {one.name} is missing")
            names = [name.partition("[")[0] for name in request.query]
            shown = isinstance(one.schema, dict) and one.schema.get("type") == "object"
            if one.required and one.where == "query" and one.name not in names and not shown:
                wrong.append(f"the parameter {one.name} is missing")
        return wrong

    def _wrong_body(self, operation: ApiOperation, request: web.Request, body: bytes) -> list[str]:
        """By the document's own words: its schema as it stands there, and another validator."""
        if operation.body is None or not body:
            return ["its body is missing"] if operation.body_required else []
        if request.content_type != operation.media.partition(";")[0]:
            return [f"its media type is {request.content_type}"]
        said, at = self.api.document.followed(
            self.api.document.at(operation.at)["requestBody"], (*operation.at, "requestBody")
        )
        media = next(m for m in said["content"] if m == operation.media or "*" in m)
        reference = DOCUMENT + reference_to((*at, "content", media, "schema"))
        if "schema" not in said["content"][media]:
            return []
        validator = self._validator({"$ref": reference}, registry=self._registry)
        found = validator.iter_errors(json.loads(body))
        return [one.message[:200] for one in found if not _is_of_read_only(one)]


def _is_of_read_only(error: Any) -> bool:
    """Whether what is missing is what only the system writes: that is not required of who asks."""
    properties = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
    missing = [n for n, said in properties.items() if error.message.startswith(repr(n))]
    return error.validator == "required" and any(properties[n].get("readOnly") for n in missing)


def _pattern(operation: ApiOperation) -> re.Pattern[str]:
    parts = re.split(r"\{[^{}]*\}", operation.path.partition("?")[0])
    return re.compile("([^/]+)".join(map(re.escape, parts)))


def request_of(api: Api, operation: ApiOperation) -> Any:
    """A request that has all that must be there, and the body, as far as one can be made up."""
    schema = operation.request
    must = {*schema["required"]} | ({"body"} if operation.body is not None else set())
    return {
        name: example(api, schema["properties"][name])
        for name in schema["properties"]
        if name in must
    }


def example(api: Api, schema: Any, depth: int = 0) -> Any:
    """A value of a schema: its default or first value, and of objects what must be there."""
    if not isinstance(schema, dict):
        return {} if depth < 1 else "a"
    if "$ref" in schema:
        target = api.schemas.definition(schema["$ref"].removeprefix(PREFIX))
        return example(api, target, depth + 1)
    for name in ("const", "enum"):
        if name in schema:
            return schema[name] if name == "const" else schema[name][0]
    if "allOf" in schema:
        parts = [example(api, part, depth) for part in schema["allOf"]]
        merged = {k: v for part in parts if isinstance(part, dict) for k, v in part.items()}
        return (
            merged | _object(api, schema, depth) if merged or "properties" in schema else parts[0]
        )
    for name in ("oneOf", "anyOf"):
        if name in schema:
            found = example(api, schema[name][0], depth)
            both = isinstance(found, dict) and "properties" in schema
            return {**_object(api, schema, depth), **found} if both else found
    types = schema.get("type", "object" if "properties" in schema else "string")
    kind = types[0] if isinstance(types, list) else types
    if kind == "object":
        return _object(api, schema, depth)
    if kind == "array":
        count = schema.get("minItems", 0 if depth > 8 else 1)
        return [example(api, schema.get("items", True), depth + 1) for _ in range(count)]
    return _single(kind, schema)


def _object(api: Api, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
    properties, needed = schema.get("properties", {}), schema.get("required", ())
    return {name: example(api, properties.get(name, True), depth + 1) for name in needed}


_FORMATS = {
    "date-time": "2026-01-02T03:04:05Z",
    "date": "2026-01-02",
    "uuid": "01234567-89ab-4def-8123-456789abcdef",
    "uri": "https://example.com/a",
    "url": "https://example.com/a",
    "email": "a@example.com",
    "binary": "YQ==",
    "byte": "YQ==",
}


def _single(kind: str, schema: Mapping[str, Any]) -> Any:
    if kind == "string":
        text = _FORMATS.get(str(schema.get("format")), "a/b c")
        return text.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength")]
    if kind in ("integer", "number"):
        low = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
        return low if schema.get("maximum", low) >= low else schema["maximum"]
    return {"boolean": True, "null": None}.get(kind, "a")
