"""What a system would be asked for, of a call that is not made: ``?validate_only=true``."""

from __future__ import annotations

import re
import uuid
from typing import Any

import orjson

from trunkline.access.policy import Client
from trunkline.connectors.base import HttpRequest, SqlRequest
from trunkline.connectors.json_values import to_json
from trunkline.errors import DataError, DeliveryError
from trunkline.gateway.catalog import Offered
from trunkline.gateway.problems import Problem
from trunkline.streams.flow.operation import Call

_SECRET = re.compile(r"auth|cookie|key|password|secret|signature|token", re.IGNORECASE)


def preview(offered: Offered, client: Client, request: Any) -> dict[str, Any]:
    """The request that the flow's function makes of a call: method, path, headers and body, without
    what its sink adds (address, credentials), and with headers masked whose names say that they are
    secret; of a database the statement and its values, likewise. Raises Problem where the function
    refuses or fails."""
    id_ = str(uuid.uuid4())
    call = Call(request, id_, client.name, offered.entity_key(request) or id_)
    try:
        made = offered.render(call)
        if isinstance(made, SqlRequest):
            return _statement(made)
        body = None if made.json is None else orjson.Fragment(to_json(made.json))
    except (DeliveryError, DataError) as refused:
        raise Problem("not-acceptable", str(refused)) from refused
    # Whatever a defect of the flow's function raises: in a call it would be dead, and told so.
    except Exception as defect:
        told = f"the operation {offered.name} failed: {type(defect).__name__}"
        raise Problem("system-failed", told) from defect
    if not isinstance(made, HttpRequest):
        raise Problem("system-failed", f"the operation {offered.name} returned no request")
    headers = {name: "***" if _SECRET.search(name) else v for name, v in made.headers.items()}
    return {"method": made.method, "path": made.path, "headers": headers, "body": body}


def _statement(made: SqlRequest) -> dict[str, Any]:
    values = {name: "***" if _SECRET.search(name) else v for name, v in made.values.items()}
    return {"sql": made.sql, "values": orjson.Fragment(to_json(values))}
