"""How values of parameters are written into a URL and into headers: the styles of OpenAPI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import orjson

from trunkline.openapi.parameters import Parameter

_BETWEEN = {"form": ",", "spaceDelimited": "%20", "pipeDelimited": "%7C"}


class NoRequest(ValueError):
    """A parameter's value that no request can be made of. ``name``: as callers name it."""

    def __init__(self, name: str, told: str) -> None:
        super().__init__(told)
        self.name = name


def path_value(parameter: Parameter, name: str, value: Any) -> str:
    """The segment of a path. Raises NoRequest for one that would make another path."""
    found = ",".join(_simple(parameter, value, _encoded))
    if not found or found in (".", ".."):
        raise NoRequest(name, "must be a part of a path: not empty, '.' or '..'")
    return found


def query_of(parameters: Mapping[str, Parameter], given: Mapping[str, Any]) -> Iterator[str]:
    """The parts of the query."""
    for name, value in given.items():
        parameter = parameters.get(name)
        if parameter is None or parameter.where != "query" or value is None:
            continue
        own = _encoded(parameter.name)
        if parameter.json:
            yield f"{own}={_encoded(_json(value))}"
        elif parameter.style == "deepObject" and isinstance(value, dict):
            yield from _deep(own, value)
        elif isinstance(value, list):
            if parameter.explode and parameter.style == "form":
                yield from (f"{own}={_encoded(_text(one))}" for one in value)
            elif value:
                between = _BETWEEN.get(parameter.style, ",")
                yield f"{own}={between.join(_encoded(_text(one)) for one in value)}"
        elif isinstance(value, dict):
            if parameter.explode:
                yield from (f"{_encoded(n)}={_encoded(_text(v))}" for n, v in value.items())
            elif value:
                pairs = (_encoded(one) for n, v in value.items() for one in (n, _text(v)))
                yield f"{own}={','.join(pairs)}"
        else:
            yield f"{own}={_encoded(_text(value))}"


def headers_of(parameters: Mapping[str, Parameter], given: Mapping[str, Any]) -> dict[str, str]:
    """The headers. Raises NoRequest for a value that no header can have."""
    found: dict[str, str] = {}
    for name, value in given.items():
        parameter = parameters.get(name)
        if parameter is None or parameter.where != "header" or value is None:
            continue
        text = ",".join(_simple(parameter, value, str))
        if not text.isascii() or not text.isprintable():
            raise NoRequest(name, "must be of visible ASCII characters: it is a header")
        found[parameter.name] = text
    return found


def _simple(parameter: Parameter, value: Any, form: Any) -> Iterator[str]:
    if parameter.json:
        yield form(_json(value))
    elif isinstance(value, list):
        yield from (form(_text(one)) for one in value)
    elif isinstance(value, dict):
        for name, one in value.items():
            if parameter.explode:
                yield f"{form(name)}={form(_text(one))}"
            else:
                yield form(name)
                yield form(_text(one))
    else:
        yield form(_text(value))


def _deep(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner, one in value.items():
            yield from _deep(f"{name}%5B{_encoded(inner)}%5D", one)
    elif isinstance(value, list):
        yield from (f"{name}={_encoded(_text(one))}" for one in value)
    elif value is not None:
        yield f"{name}={_encoded(_text(value))}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _encoded(text: str) -> str:
    return quote(text, safe="")
