"""The gateway's AsyncAPI document (3.0): what a caller may send without waiting for the answer.

Commands with ``Prefer: respond-async``, whose answer is at the address that ``Location`` names, and
the topics that events are sent to. What only reads is answered at once: OpenAPI has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trunkline.gateway.catalog import Offered
from trunkline.gateway.openapi import CALL

HTTP = "0.3.0"
"""The version of AsyncAPI's bindings of HTTP."""
_KEY = {"$ref": "#/components/securitySchemes/key"}
_REPLY = "$message.header#/Location"


def asyncapi(
    offered: Iterable[Offered], event_paths: Mapping[str, Any], version: str
) -> dict[str, Any]:
    """The document of these operations, and of the topics that ``event_paths`` describe for
    OpenAPI. Whoever serves it adds the schemas of the events."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for one in (command for command in offered if not command.is_query):
        name = f"{one.system}.{one.name}"
        channels[name] = _channel(one.path, "request", _request(one))
        operations[name] = _received(name, "request", one.described) | {"reply": _reply()}
        schemas |= one.schemas()
    if operations:
        channels["call"] = _channel(None, "call", {"payload": _schema("Call")})
        schemas["Call"] = CALL
    for path, methods in event_paths.items():
        said = methods["post"]
        body = said["requestBody"]["content"]["application/json"]["schema"]
        name = said["operationId"]
        channels[name] = _channel(path, "events", {"payload": body})
        operations[name] = _received(name, "events", said["summary"])
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Trunkline gateway", "version": version},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _channel(address: str | None, name: str, message: dict[str, Any]) -> dict[str, Any]:
    return {"address": address, "messages": {name: message}}


def _received(channel: str, message: str, described: str) -> dict[str, Any]:
    """An operation of the gateway, which receives what callers send."""
    summary, _, rest = described.partition("\n")
    return {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{message}"}],
        "summary": summary,
        **({"description": rest.strip()} if rest.strip() else {}),
        "security": [_KEY],
        "bindings": {"http": {"method": "POST", "bindingVersion": HTTP}},
    }


def _reply() -> dict[str, Any]:
    return {
        "address": {"location": _REPLY, "description": "ask there, with Prefer: wait=SECONDS"},
        "channel": {"$ref": "#/channels/call"},
        "messages": [{"$ref": "#/channels/call/messages/call"}],
    }


def _request(one: Offered) -> dict[str, Any]:
    key = {"type": "string", "minLength": 1, "maxLength": 255}
    headers = {
        "type": "object",
        "required": ["Prefer", *(["Idempotency-Key"] if one.needs_key else [])],
        "properties": {"Prefer": {"const": "respond-async"}, "Idempotency-Key": key},
    }
    return {"headers": headers, "payload": _schema(one.request_name)}


def _schema(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}
