"""The operations that the gateway offers, from the flows' definitions alone."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from trunkline.access.policy import Client
from trunkline.errors import ConfigurationError, Rejected
from trunkline.openapi.api import BODY
from trunkline.openapi.calls import CallForm
from trunkline.params import Backbone
from trunkline.schemas.codec import Codec
from trunkline.schemas.plain.document import json_schemas
from trunkline.schemas.plain.read import FieldError, PlainReader, broken_rules
from trunkline.schemas.subjects import subject
from trunkline.schemas.types import AvroSchema, schema_of
from trunkline.streams.flow.annotations import type_of_request
from trunkline.streams.flow.definition import Flow
from trunkline.streams.flow.imported import ImportedOperation
from trunkline.streams.flow.operation import QUERIES, REPEATABLE, Call, Operation, OperationPolicy
from trunkline.streams.plan.needs import operation_subject

MAX_KEY = 1_000
"""Characters of the key of an entity."""


def unrendered(call: Call[Any]) -> Any:
    """The request of no operation."""
    raise Rejected("it makes no request")


@dataclass(frozen=True, slots=True)
class Offered:
    """An operation as callers see it. ``flow``: its name; ``inbox``, ``calls``: its destination's
    topics, and ``queries`` if it only reads; ``encode``: a request to the bytes of these;
    ``reader``: JSON to a request; ``render``: a call to what the system gets; ``form``: of one that
    an OpenAPI document describes, what its requests are."""

    system: str
    name: str
    flow: str
    inbox: str
    calls: str
    policy: OperationPolicy
    schema: AvroSchema
    reader: PlainReader
    encode: Callable[[Any], bytes]
    described: str
    queries: str = ""
    form: CallForm | None = None
    render: Callable[[Call[Any]], Any] = unrendered

    @property
    def is_query(self) -> bool:
        """Whether it changes nothing."""
        return self.policy.is_query

    @property
    def path(self) -> str:
        """Where it is called."""
        return f"/v1/systems/{self.system}/operations/{self.name}"

    @property
    def needs_key(self) -> bool:
        """Whether a call needs an Idempotency-Key."""
        return self.policy.verb not in (*REPEATABLE, *QUERIES)

    def entity_key(self, request: Any) -> str:
        """The key of the entity that a request is about, "" for none."""
        name = self.policy.key
        return str(request[name]) if name else ""

    def read(self, body: Any) -> tuple[Any, list[FieldError]]:
        """The request that a JSON value is, and all that is wrong with it.

        Its key must name an entity: of an empty one ``/orders/{id}`` would be all orders, and the
        key stands in each record of the call, which the gateways hold in memory for a day.
        """
        if self.form is not None:
            return self.form.read(body)
        request, errors = self.reader.read(body)
        if not errors and self.policy.key and not 0 < len(self.entity_key(request)) <= MAX_KEY:
            pointer = f"#/{self.policy.key}"
            errors = [FieldError(pointer, f"must have 1 to {MAX_KEY} characters: it is the key")]
        return request, errors or broken_rules(self.schema.check, request)

    def fields(self, request: Any) -> Mapping[str, Any]:
        """The fields of a request that was read, and their values."""
        if self.form is None:
            return dict(request)
        body = {BODY: request["body"]} if request["body"] is not None else {}
        return {**orjson.loads(request["parameters"]), **body}

    @property
    def request_name(self) -> str:
        """The name of its request's schema in a document of all that is offered."""
        return self.schema.name if self.form is None else f"{self.system}.{self.name}"

    def schemas(self) -> dict[str, Any]:
        """The schemas of its request and, where they are known, of its answers, by their names in
        a document of all that is offered."""
        if self.form is None:
            return json_schemas(self.schema.parsed)
        request, _, others = self.form.described(self._prefix)
        return {self.request_name: request, **others}

    def replies(self) -> dict[str, Any]:
        """The schemas of its answers by their status, as far as a document describes them."""
        return {} if self.form is None else self.form.described(self._prefix)[1]

    @property
    def _prefix(self) -> str:
        return f"{self.flow}.{self.system}."


class Catalog:
    """All operations, by system and name."""

    def __init__(self, offered: Iterable[Offered]) -> None:
        self._offered = {(one.system, one.name): one for one in offered}
        self._costs = {(one.calls, one.name): one.policy.cost for one in self.all}

    @classmethod
    def of(cls, flows: Iterable[Flow[Any]], backbone: Backbone, codec: Codec) -> Catalog:
        """The operations of these flows. Asks the registry for the ids of their schemas. Raises
        ConfigurationError, RegistryUnavailable."""
        return cls(_offered(one, backbone, codec) for flow in flows for one in flow.operations)

    @property
    def all(self) -> list[Offered]:
        """All of them."""
        return [*self._offered.values()]

    @property
    def topics(self) -> list[str]:
        """The topics that say how calls stand."""
        return sorted({one.calls for one in self._offered.values()})

    @property
    def inboxes(self) -> list[str]:
        """The topics that calls and queries go into."""
        topics = {topic for one in self._offered.values() for topic in (one.inbox, one.queries)}
        return sorted(topics - {""})

    @property
    def has_queries(self) -> bool:
        """Whether any operation only reads."""
        return any(one.is_query for one in self._offered.values())

    def find(self, system: str, name: str) -> Offered | None:
        """The operation of this name."""
        return self._offered.get((system, name))

    def by_topic(self, calls: str, name: str) -> Offered | None:
        """The operation that a record of a topic of calls is of."""
        return next((o for o in self._offered.values() if (o.calls, o.name) == (calls, name)), None)

    def cost(self, calls: str, name: str) -> int:
        """What a call takes of its client's limits, by the topic of its record."""
        return self._costs.get((calls, name), 1)

    def allowed(self, client: Client) -> list[Offered]:
        """What a client may call, sorted."""
        mine = [one for one in self._offered.values() if client.may_call(one.system, one.name)]
        return sorted(mine, key=lambda one: (one.system, one.name))

    def nearest(self, system: str, name: str, client: Client) -> str:
        """The path of the operation that was probably meant, of those that the client may call."""
        mine = {f"{one.system}/{one.name}": one.path for one in self.allowed(client)}
        near = difflib.get_close_matches(f"{system}/{name}"[:200], mine, 1)
        return mine[near[0]] if near else ""


def _offered(operation: Operation[Any], backbone: Backbone, codec: Codec) -> Offered:
    request = type_of_request(operation)
    schema = schema_of(request)
    named = subject(operation_subject(operation), schema.json, backbone.registry_subjects)
    form = operation.form if isinstance(operation, ImportedOperation) else None
    if form is not None:
        _require_validator(form)
    return Offered(
        system=operation.system,
        name=operation.name,
        flow=operation.flow.name,
        inbox=operation.to.inbox,
        calls=operation.to.calls,
        policy=operation.policy,
        schema=schema,
        reader=PlainReader(schema.parsed),
        encode=codec.encoder(request, named, register=backbone.create),
        render=operation.request,
        form=form,
        queries=operation.to.queries if operation.policy.is_query else "",
        described=inspect.cleandoc(operation.__doc__ or operation.name),
    )


def _require_validator(form: CallForm) -> None:
    """Now, and not at the first call."""
    try:
        _ = form.validator
    except ValueError as error:
        raise ConfigurationError(
            f"the operation {form.name} cannot be validated: {error}"
        ) from None
