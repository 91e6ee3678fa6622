"""The gateway's own OpenAPI document (3.1), of the operations that a caller may use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trunkline.gateway.aliases import Aliases, Place
from trunkline.gateway.catalog import MAX_KEY, Offered
from trunkline.gateway.decisions import MAX_WHY, OUTCOMES, REPEAT
from trunkline.schemas.plain.document import json_schemas, keyed
from trunkline.streams.journal.record import STATES

_PROBLEM = {
    "type": "object",
    "description": "Problem details, RFC 9457",
    "required": ["type", "title", "status", "retryable"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "retryable": {"type": "boolean"},
        "call": {"type": "string", "format": "uuid"},
        "system": {"type": "string"},
        "system_status": {"type": "integer"},
        "system_code": {"type": "string"},
        "violated-policies": {"type": "array", "items": {"type": "string"}},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
CALL = {
    "type": "object",
    "required": ["call", "state", "system", "operation", "accepted_at", "expires_at", "attempt"],
    "properties": {
        "call": {"type": "string", "format": "uuid"},
        "state": {
            "enum": sorted(STATES),
        },
        "system": {"type": "string"},
        "operation": {"type": "string"},
        "accepted_at": {"type": "string", "format": "date-time"},
        "expires_at": {"type": "string", "format": "date-time"},
        "due_at": {"type": "string", "format": "date-time"},
        "attempt": {"type": "integer"},
        "why": {"type": "string"},
        "system_status": {"type": "integer"},
        "system_code": {"type": "string"},
        "reply": True,
    },
}

_TEXT = {"type": "string"}
_DECISIONS = {
    "cancel": "Make no attempt more",
    "approve": "Let a call run that needs approval",
    "resolve": "Say what became of a call in doubt",
}


def openapi(offered: Iterable[Offered], aliases: Aliases, version: str) -> dict[str, Any]:
    """The document of these operations, at their own URLs and at those of their resources."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {"Problem": _PROBLEM, "Call": CALL}
    for one in offered:
        paths[one.path] = {"post": _operation(one)}
        if (place := aliases.of(one)) is not None:
            at = paths.setdefault(place.path, {})
            at[place.method.lower()] = _alias(one, place)
        schemas |= one.schemas()
    call = {"name": "id", "in": "path", "required": True}
    call["schema"] = {"type": "string", "format": "uuid"}
    paths["/v1/calls/{id}"] = {"get": _state(call, "How a call stands", "Call")}
    for verb, summary in _DECISIONS.items():
        paths[f"/v1/calls/{{id}}:{verb}"] = {"post": _decision(call, verb, summary)}
    paths["/v1/calls"] = {"get": _list()}
    paths["/v1/quota"] = {"get": _quota()}
    paths["/v1/calls/{id}/reply"] = {"get": _reply(call)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Trunkline gateway", "version": version},
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


_COMMAND = {
    "201": {"description": "done and created; what the system answered"},
    "202": {
        "description": "not done yet",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Call"}}},
    },
}


def _operation(one: Offered) -> dict[str, Any]:
    summary, _, rest = one.described.partition("\n")
    key = {"name": "Idempotency-Key", "in": "header", "required": one.needs_key}
    # In quotes, too, as the draft has it: those are none of it.
    key["schema"] = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-~]+$"}
    return {
        "operationId": f"{one.system}.{one.name}",
        "summary": summary,
        **({"description": rest.strip()} if rest.strip() else {}),
        "tags": [one.policy.resource],
        "parameters": [*([] if one.is_query else [key]), _prefer(), _validate_only()],
        "requestBody": {"required": True, "content": _request(one)},
        "responses": {
            "200": {"description": "done; what the system answered", **_answer(one)},
            **({} if one.is_query else _COMMAND),
            "204": {"description": "done; the system answered nothing"},
            "default": _problem(),
        },
    }


def _request(one: Offered) -> dict[str, Any]:
    if one.form is not None:
        return _json(one.request_name)
    return {"application/json": {"schema": keyed(one.schema, one.policy.key)}}


def _answer(one: Offered) -> dict[str, Any]:
    """What the system's good answers are, as its document describes them."""
    found = [schema for schema in one.replies().values() if schema is not None]
    if not found:
        return {}
    schema = found[0] if len(found) == 1 else {"anyOf": found}
    return {"content": {"application/json": {"schema": schema}}}


def _alias(one: Offered, place: Place) -> dict[str, Any]:
    """The same operation at its resource: the key is in the URL, and a GET has all else there."""
    found = _operation(one)
    found["operationId"] = f"{one.system}.{one.name}.resource"
    schema = json_schemas(one.schema.parsed)[one.schema.name]
    key = one.policy.key if place.one else ""
    given: list[dict[str, Any]] = []
    if key:
        text = {"type": "string", "minLength": 1, "maxLength": MAX_KEY}
        given.append({"name": "id", "in": "path", "required": True, "schema": text})
    if place.method in ("GET", "DELETE"):
        del found["requestBody"]
    if place.method == "GET":
        required = schema.get("required", ())
        given += [
            {"name": name, "in": "query", "required": name in required, "schema": said}
            for name, said in schema["properties"].items()
            if name != key
        ]
    elif place.method != "DELETE" and key:
        known = f"the same as /components/schemas/{one.schema.name}; the URL says its {key}"
        properties = {name: said for name, said in schema["properties"].items() if name != key}
        required = [name for name in schema.get("required", ()) if name != key]
        closed = {"type": "object", "additionalProperties": False, "required": required}
        body = {**closed, "description": known, "properties": properties}
        found["requestBody"]["content"] = {"application/json": {"schema": body}}
    found["parameters"] = [*given, *found["parameters"]]
    return found


def _state(parameter: dict[str, Any], summary: str, schema: str | None) -> dict[str, Any]:
    done: dict[str, Any] = {"description": summary}
    if schema:
        done["content"] = _json(schema)
    return {
        "summary": summary,
        "parameters": [parameter, _prefer()],
        "responses": {"200": done, "default": _problem()},
    }


def _reply(parameter: dict[str, Any]) -> dict[str, Any]:
    found = _state(parameter, "The answer of a call", None)
    nothing = {"description": "the system answered nothing"}
    found["responses"] = {**found["responses"], **_COMMAND, "204": nothing}
    return found


def _decision(parameter: dict[str, Any], verb: str, summary: str) -> dict[str, Any]:
    properties: dict[str, Any] = {"why": {"type": "string", "maxLength": MAX_WHY}}
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if verb == "resolve":
        properties["outcome"] = {"enum": [*OUTCOMES, REPEAT]}
        schema["required"] = ["outcome"]
    return {
        "summary": summary,
        "parameters": [parameter],
        "requestBody": {
            "required": verb == "resolve",
            "content": {"application/json": {"schema": schema}},
        },
        "responses": {
            "200": {"description": "so it is", "content": _json("Call")},
            "202": {"description": "asked for, not decided yet", "content": _json("Call")},
            "default": _problem(),
        },
    }


def _list() -> dict[str, Any]:
    items = {"type": "array", "items": {"$ref": "#/components/schemas/Call"}}
    properties = {"calls": items, "more": {"type": "boolean"}}
    schema = {"type": "object", "required": ["calls", "more"], "properties": properties}
    done = {"description": "them", "content": {"application/json": {"schema": schema}}}
    return {
        "summary": "The calls that wait for a decision of yours",
        "responses": {"200": done, "default": _problem()},
    }


def _quota() -> dict[str, Any]:
    numbers = {name: {"type": "integer"} for name in ("limit", "window", "used", "left")}
    resets = {"type": "string", "format": "date-time"}
    limit = {"type": "object", "properties": {"name": _TEXT, **numbers, "resets": resets}}
    properties = {"client": _TEXT, "limits": {"type": "array", "items": limit}}
    done = {"application/json": {"schema": {"type": "object", "properties": properties}}}
    return {
        "summary": "What is left of your limits",
        "responses": {"200": {"description": "it", "content": done}, "default": _problem()},
    }


def _validate_only() -> dict[str, Any]:
    described = "show what the system would be asked for, and make no call"
    schema = {"type": "boolean", "default": False}
    return {"name": "validate_only", "in": "query", "description": described, "schema": schema}


def _prefer() -> dict[str, Any]:
    described = "respond-async, or wait=SECONDS (at most 60)"
    schema = {"type": "string"}
    return {"name": "Prefer", "in": "header", "description": described, "schema": schema}


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _problem() -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": "a problem", "content": {"application/problem+json": {"schema": schema}}}
