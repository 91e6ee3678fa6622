"""The gateway's own OpenAPI document (3.1), of the operations that a caller may use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trunkline.gateway.catalog import Offered
from trunkline.schemas.plain.document import json_schemas

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
_CALL = {
    "type": "object",
    "required": ["call", "state", "system", "operation", "accepted_at", "expires_at", "attempt"],
    "properties": {
        "call": {"type": "string", "format": "uuid"},
        "state": {
            "enum": ["accepted", "attempting", "succeeded", "rejected", "dead", "expired"],
        },
        "system": {"type": "string"},
        "operation": {"type": "string"},
        "accepted_at": {"type": "string", "format": "date-time"},
        "expires_at": {"type": "string", "format": "date-time"},
        "due_at": {"type": "string", "format": "date-time"},
        "attempt": {"type": "integer"},
        "why": {"type": "string"},
        "system_status": {"type": "integer"},
        "reply": True,
    },
}


def openapi(offered: Iterable[Offered], version: str) -> dict[str, Any]:
    """The document of these operations."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {"Problem": _PROBLEM, "Call": _CALL}
    for one in offered:
        paths[one.path] = {"post": _operation(one)}
        schemas |= json_schemas(one.schema.parsed)
    call = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    paths["/v1/calls/{id}"] = {"get": _state(call, "How a call stands", "Call")}
    paths["/v1/calls/{id}/reply"] = {"get": _state(call, "The answer of a call", None)}
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


def _operation(one: Offered) -> dict[str, Any]:
    summary, _, rest = one.described.partition("\n")
    key = {"name": "Idempotency-Key", "in": "header", "required": one.needs_key}
    key["schema"] = {"type": "string", "minLength": 1, "maxLength": 255}
    return {
        "operationId": f"{one.system}.{one.name}",
        "summary": summary,
        **({"description": rest.strip()} if rest.strip() else {}),
        "tags": [one.policy.resource],
        "parameters": [key, _prefer()],
        "requestBody": {"required": True, "content": _json(one.schema.name)},
        "responses": {
            "200": {"description": "done; what the system answered"},
            "201": {"description": "done and created; what the system answered"},
            "202": {"description": "not done yet", "content": _json("Call")},
            "204": {"description": "done; the system answered nothing"},
            "default": _problem(),
        },
    }


def _state(parameter: dict[str, Any], summary: str, schema: str | None) -> dict[str, Any]:
    done: dict[str, Any] = {"description": summary}
    if schema:
        done["content"] = _json(schema)
    return {
        "summary": summary,
        "parameters": [parameter, _prefer()],
        "responses": {"200": done, "default": _problem()},
    }


def _prefer() -> dict[str, Any]:
    described = "respond-async, or wait=SECONDS (at most 60)"
    schema = {"type": "string"}
    return {"name": "Prefer", "in": "header", "description": described, "schema": schema}


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _problem() -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": "a problem", "content": {"application/problem+json": {"schema": schema}}}
