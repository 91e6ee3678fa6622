"""Path templates: ``/orders/{key}`` over an event's key and the fields of its data."""

from __future__ import annotations

import re
from collections.abc import Callable
from string import Formatter
from typing import Any
from urllib.parse import quote

from trunkline.connectors.json_values import text_of
from trunkline.errors import ConfigurationError, Rejected, SerializationError
from trunkline.event import Event

PathOf = Callable[[Event[Any]], str]

_PLAIN = r"[A-Za-z0-9\-._~!$&'()*+,;=:@/?]*"
_ENCODED = re.compile(rf"{_PLAIN}(?:%[0-9A-Fa-f]{{2}}{_PLAIN})*")
"""What a path and a query may consist of (RFC 3986, 3.3 and 3.4)."""

_DOTS = re.compile(r"[^?]*/(?:\.|%2[Ee]){1,2}(?:[/?]|\Z)")
"""A path with a segment that means this one, or the one above (RFC 3986, 5.2.4)."""


def require_encoded(path: str) -> None:
    """Raises Rejected unless a path begins with / or ?, is percent-encoded, and has no segment
    ``.`` or ``..``.

    Why: a function that forgets to encode makes a broken request line of a blank, a broken escape
    of ``100%``, and another host of ``@elsewhere``. And ``quote`` leaves dots as they are: of an
    order with the id ``..``, ``/orders/..`` is a request for something else.
    """
    if path[0] not in "/?":
        raise Rejected(f"the path {path!r} must begin with / or ?")
    if not _ENCODED.fullmatch(path):
        raise Rejected(f"the path {path!r} is not percent-encoded: use urllib.parse.quote")
    if "/." in path or "/%2" in path:
        _require_no_dots(path)


def _require_no_dots(path: str) -> None:
    if _DOTS.match(path):
        raise Rejected(f"the path {path!r} has a segment of dots, which makes another path")


def path_template(template: str, type: type, *, deletes: bool) -> PathOf:
    """The function that fills ``template`` for an event.

    ``{key}`` is the event's key, any other name a field of its data; values are percent-encoded,
    so that a value never spans two segments. The function raises Rejected for a value that would
    make another path: none, empty, ``.`` or ``..``. Raises ConfigurationError for a template that
    cannot work for ``type``.
    """
    names = [name for _, name, _, _ in _parsed(template) if name is not None]
    _check(template, names, type, deletes)
    if not names:
        return lambda _: template
    if names == ["key"]:
        return lambda event: template.format(key=_segment("key", event.key))
    return lambda event: template.format_map(_Values(event))


def text_template(template: str, type: type, *, what: str, deletes: bool) -> PathOf:
    """The function that fills a template as of a path, but with values as they are.

    ``what``: names it in errors. Raises ConfigurationError for a template that cannot work.
    """
    names = [name for _, name, _, _ in _parsed(template, what) if name is not None]
    _check_names(template, names, type, deletes, what)
    return lambda event: template.format_map(_Texts(event))


class _Texts(dict[str, str]):
    def __init__(self, event: Event[Any]) -> None:
        super().__init__()
        self._event = event

    def __missing__(self, name: str) -> str:
        value = self._event.key if name == "key" else self._event.data.get(name)
        try:
            return "" if value is None else text_of(value)
        except SerializationError as error:
            raise Rejected(f"a header's {{{name}}} cannot be written: {error}") from error


class _Values(dict[str, str]):
    def __init__(self, event: Event[Any]) -> None:
        super().__init__()
        self._event = event

    def __missing__(self, name: str) -> str:
        return _segment(name, self._event.key if name == "key" else self._event.data.get(name))


def _segment(name: str, value: object) -> str:
    try:
        text = "" if value is None else text_of(value)
    except SerializationError as error:
        raise Rejected(f"the path's {{{name}}} cannot be written: {error}") from error
    if text in ("", ".", ".."):
        raise Rejected(f"the path's {{{name}}} is {text!r}, which makes another path")
    return quote(text, safe="")


def _parsed(
    template: str, what: str = "path"
) -> list[tuple[str, str | None, str | None, str | None]]:
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ConfigurationError(f"{what} {template!r}: {error}") from error
    for _, name, spec, conversion in parts:
        if name is not None and (not name.isidentifier() or spec or conversion):
            raise ConfigurationError(f"{what} {template!r}: {{{name}}} must be a plain name")
    return parts


def _check(template: str, names: list[str], type: type, deletes: bool) -> None:
    if template and template[0] not in "/?":
        raise ConfigurationError(f"path {template!r} must begin with / or ?")
    _check_names(template, names, type, deletes, "path")


def _check_names(template: str, names: list[str], type: type, deletes: bool, what: str) -> None:
    fields = {name for name in names if name != "key"}
    known = set(getattr(type, "__annotations__", ()))
    if hasattr(type, "__required_keys__") and not fields <= known:
        unknown = ", ".join(sorted(fields - known))
        raise ConfigurationError(
            f"{what} {template!r}: {type.__name__} has no field {unknown} (it has: "
            f"{', '.join(sorted(known))}; {{key}} is the event's key)"
        )
    if deletes and fields:
        raise ConfigurationError(
            f"{what} {template!r}: a delete carries only its key: use {{key}}, or a function"
        )
