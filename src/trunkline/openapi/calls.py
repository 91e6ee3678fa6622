"""A call of an imported operation: its request validated, put into the envelope that goes through
Kafka, and made a request of the system again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

from trunkline.errors import Rejected
from trunkline.openapi.api import BODY, Api, ApiOperation
from trunkline.openapi.parameters import IN_PATH
from trunkline.openapi.patterns import validator_of
from trunkline.openapi.schemas import PREFIX
from trunkline.openapi.writing import NoRequest, headers_of, path_value, query_of
from trunkline.schemas.plain.parse import NotJson, parse
from trunkline.schemas.plain.read import MAX_DEPTH, MAX_ERRORS, FieldError

MAX_KEY = 1_000
"""Characters of the key of an entity."""


class Rendered(NamedTuple):
    """What a system is asked for. ``body``: JSON's values, None for no body."""

    method: str
    path: str
    body: Any
    headers: dict[str, str]


class CallForm:
    """The requests of one imported operation. ``key``: a JSON pointer to what names the entity, or
    the name of a member, "" for none. ``name``: the operation's in its flow. For any thread."""

    def __init__(self, api: Api, operation: ApiOperation, name: str, key: str = "") -> None:
        self._api = api
        self.operation = operation
        self.name = name
        self.key = key if key.startswith("/") or not key else f"/{key}"
        way = self.key.split("/")[1:]
        self._way = [one.replace("~1", "/").replace("~0", "~") for one in way]

    @property
    def key_problem(self) -> str:
        """Why its key can name no entity, "" if it can."""
        names = [*self.operation.request["properties"]]
        if self._way and self._way[0] not in names:
            return (
                f"key={self.key!r} leads to no member of the request: there are {', '.join(names)}"
            )
        return ""

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The schema of a request, with all that it refers to. JSON Schema 2020-12."""
        definitions = self._api.schemas.closure(self.operation.refers)
        return {**self.operation.request, "components": {"schemas": definitions}}

    @cached_property
    def validator(self) -> Any:
        """What tells what is wrong with a request. Raises MissingExtra, ValueError."""
        return validator_of(self.schema)

    def described(self, prefix: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """The schema of a request, those of the good answers by status, and all schemas that both
        refer to, under names that begin with ``prefix``: for a document with others beside them."""
        operation = self.operation
        refers = operation.refers | operation.reply_refers
        moved = self._api.moved.setdefault(prefix, {})
        definitions = self._api.schemas.closure(refers)
        for name, schema in definitions.items():
            if name not in moved:  # many operations refer to the same ones
                moved[name] = _moved(schema, prefix)
        named = {f"{prefix}{n}": moved[n] for n in definitions}
        replies = {status: _moved(one, prefix) for status, one in operation.replies.items()}
        return _moved(operation.request, prefix), replies, named

    def envelope(self, data: Any) -> dict[str, Any]:
        """The envelope of a request that a flow makes. Raises Rejected, with all that is wrong."""
        try:
            value = parse(_dumped(data))
        except (orjson.JSONEncodeError, NotJson) as error:
            raise Rejected(f"the request of {self.name} is no JSON: {error}") from error
        made, errors = self.read(value)
        if errors:
            told = "; ".join(f"{one.pointer or 'it'} {one.detail}" for one in errors[:5])
            raise Rejected(f"the request of {self.name} is not acceptable: {told}")
        return made

    def read(self, value: Any) -> tuple[dict[str, Any], list[FieldError]]:
        """The envelope of a request's JSON values, and all that is wrong with it: with any errors
        the envelope is of no use."""
        if _is_deeper(value, MAX_DEPTH):
            return {}, [FieldError("", f"is nested more than {MAX_DEPTH} deep")]
        try:
            _dumped(value)
        except orjson.JSONEncodeError:
            return {}, [FieldError("", "has a text that is no Unicode")]
        found = islice(self.validator.iter_errors(value), MAX_ERRORS)
        errors = [told for one in found for told in _told(one)][:MAX_ERRORS]
        if errors:
            return {}, errors
        key, wrong = self._key_of(value)
        if wrong:
            return {}, [FieldError(f"#{self.key}", wrong)]
        parameters = {
            name: one for name, one in value.items() if name != BODY or not self._has_body
        }
        body = value.get(BODY, _NONE) if self._has_body else _NONE
        made = {
            "operation": self.name,
            "key": key,
            "parameters": _dumped(parameters).decode(),
            "body": None if body is _NONE else _dumped(body).decode(),
        }
        try:
            self.rendered(made)
        except NoRequest as error:
            return {}, [FieldError(f"#/{error.name}", str(error))]
        return made, []

    def rendered(self, envelope: Mapping[str, Any]) -> Rendered:
        """What the system is asked for. Raises NoRequest for what would be another path."""
        given = json.loads(envelope["parameters"], parse_float=_number, parse_int=_integer)
        operation = self.operation
        path, _, fixed = operation.path.partition("?")
        by_name = {one.name: n for n, one in operation.arguments.items() if one.where == "path"}
        parts = IN_PATH.split(path)
        for index in range(1, len(parts), 2):
            name = by_name[parts[index]]
            if name not in given:
                raise NoRequest(name, "is missing")
            parts[index] = path_value(operation.arguments[name], name, given[name])
        parts[::2] = [quote(part, safe="/-._~!$&'()*+,;=:@%") for part in parts[::2]]
        query = [*([quote(fixed, safe="-._~!$'()*+,;=:@/?&%")] if fixed else [])]
        query += query_of(operation.arguments, given)
        headers = headers_of(operation.arguments, given)
        body = envelope["body"]
        if body is not None:
            body = json.loads(body, parse_float=_number, parse_int=_integer)
            body = orjson.Fragment("null") if body is None else body
            headers["Content-Type"] = operation.media
        whole = "".join(parts) + ("?" + "&".join(query) if query else "")
        return Rendered(operation.method.upper(), whole, body, headers)

    @property
    def _has_body(self) -> bool:
        return self.operation.body is not None

    def _key_of(self, value: Any) -> tuple[str, str]:
        """The text that names the entity, and what is wrong with it."""
        for name in self._way:
            if isinstance(value, list) and name.isdecimal() and int(name) < len(value):
                value = value[int(name)]
            elif isinstance(value, dict) and name in value:
                value = value[name]
            else:
                return "", "is missing: it is the key"
        if not self._way:
            return "", ""
        if not isinstance(value, str | int) or isinstance(value, bool):
            return "", "must be a text or a whole number: it is the key"
        text = str(value)
        if not 0 < len(text) <= MAX_KEY:
            return "", f"must have 1 to {MAX_KEY} characters: it is the key"
        return text, ""


_NONE = object()


def _told(error: Any) -> Iterator[FieldError]:
    """What the validator says, at the member that it is about."""
    at = "".join(f"/{_escaped(str(one))}" for one in error.instance_path)
    kind = error.kind
    if isinstance(kind, kind.Required):
        yield FieldError(f"#{at}/{_escaped(kind.property)}", "is missing")
    elif isinstance(kind, kind.AdditionalProperties):
        for name in kind.unexpected:
            yield FieldError(f"#{at}/{_escaped(name)}", "is not known")
    else:
        yield FieldError(f"#{at}" if at else "", error.message.removeprefix("it ")[:500])


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _is_deeper(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most + 1):
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below.extend(one.values())
            elif isinstance(one, list):
                below.extend(one)
        if not below:
            return False
        level = below
    return True


def _dumped(value: Any) -> bytes:
    """JSON without a digit lost, its names sorted: so a request that is repeated with its members
    in another order is the same. Raises JSONEncodeError."""
    option = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    try:
        return orjson.dumps(value, default=_plain, option=option)
    except orjson.JSONEncodeError:
        return orjson.dumps(_with_large(value), default=_plain, option=option)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(str(value))
    raise TypeError


def _with_large(value: Any) -> Any:
    """The same, with integers of more than 64 bits as their digits, which orjson refuses."""
    if isinstance(value, dict):
        return {name: _with_large(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_with_large(one) for one in value]
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 63:
        return orjson.Fragment(str(value))
    return value


def _number(text: str) -> Any:
    """The float that has the same digits, or else the digits themselves."""
    number = float(text)
    return number if Decimal(repr(number)) == Decimal(text) else orjson.Fragment(text)


def _integer(text: str) -> Any:
    return int(text) if len(text) < 19 else orjson.Fragment(text)


def _moved(schema: Any, prefix: str) -> Any:
    """A schema whose references lead to names with a prefix."""
    if isinstance(schema, dict):
        made = {name: _moved(one, prefix) for name, one in schema.items()}
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference.startswith(PREFIX):
            made["$ref"] = f"{PREFIX}{prefix}{reference.removeprefix(PREFIX)}"
        return made
    if isinstance(schema, list):
        return [_moved(one, prefix) for one in schema]
    return schema
