"""Which fields hold personal data, and values without them: ``confluent:tags`` of their schema.

A field that is tagged ``PII``, ``PRIVATE`` or ``SENSITIVE`` (in any case; Confluent's catalogue has
these tags) is personal, with everything in it. What people and machines are shown of it is ``***``.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from trunkline.errors import DataError, DeliveryError, RuleViolations
from trunkline.schemas import avro

TAGS = "confluent:tags"
PERSONAL = frozenset(("PII", "PRIVATE", "SENSITIVE"))
HIDDEN = "***"
MIN_HIDDEN = 3
"""Characters of a text from which on it is looked for in others' messages: a shorter one stands in
any sentence by chance."""

Hide = Callable[[Any], Any]
PersonalTexts = Callable[[Any], list[str]]
"""The texts of what is personal in a value, the longest first."""


def is_personal(field: Mapping[str, Any]) -> bool:
    """Whether a field of a parsed schema, or of one in JSON, is tagged as personal."""
    tags = field.get(TAGS, ())
    if isinstance(tags, str):
        tags = (tags,)
    return isinstance(tags, list | tuple) and any(str(tag).upper() in PERSONAL for tag in tags)


def hider(parsed: Any) -> Hide | None:
    """A function from a value to a copy of it without what is personal; None for a schema that has
    nothing of the kind. The value itself is not changed."""
    named = avro.named_types(parsed)
    if not any(is_personal(field) for field in _fields(named)):
        return None
    return _Personal(named).hidden_in(parsed)


def personal_texts(parsed: Any) -> PersonalTexts | None:
    """A function from a value to the texts of what is personal in it, to be looked for in others'
    messages; None for a schema that has nothing of the kind."""
    hide = hider(parsed)
    if hide is None:
        return None

    def texts(value: Any) -> list[str]:
        return sorted(set(_differences(value, hide(value))), key=len, reverse=True)

    return texts


def without(message: str, texts: Iterable[str]) -> str:
    """The message with ``***`` for each of these texts, the longest first."""
    for text in texts:
        message = message.replace(text, HIDDEN)
    return message


def holds_hidden(value: Any) -> bool:
    """Whether a shown value has something that is not shown."""
    if _mapped(value):
        return any(map(holds_hidden, value.values()))
    return any(map(holds_hidden, value)) if _listed(value) else bool(value == HIDDEN)


def personal_names(parsed: Any) -> frozenset[str]:
    """The names of the fields that are tagged as personal, wherever in a schema they are."""
    named = avro.named_types(parsed)
    return frozenset(field["name"] for field in _fields(named) if is_personal(field))


def without_names(value: Any, names: frozenset[str]) -> Any:
    """A copy of a JSON value with ``***`` for what has one of these names, however deep."""
    if _mapped(value):
        return {
            key: _mask(one) if key in names else without_names(one, names)
            for key, one in value.items()
        }
    return [without_names(one, names) for one in value] if _listed(value) else value


def texts_of_names(value: Any, names: frozenset[str]) -> list[str]:
    """The texts of what has one of these names, the longest first."""
    found = _differences(value, without_names(value, names))
    return sorted(set(found), key=len, reverse=True)


def hide_in(error: Exception, texts: Sequence[str]) -> Exception:
    """The error, changed so that neither it nor what it was raised from tells one of these texts:
    errors go to logs, headers, alerts. Where that cannot be done, another one in its place: of its
    kind if it is an instruction or a DataError, else a RuntimeError."""
    if not texts:
        return error
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        link.args = tuple(_hidden_argument(one, texts) for one in link.args)
        if notes := getattr(link, "__notes__", ()):
            link.__notes__ = [without(str(note), texts) for note in notes]
        if isinstance(link, RuleViolations):
            hidden = (one._replace(message=without(one.message, texts)) for one in link.violations)
            link.violations = tuple(hidden)
        if isinstance(link, DeliveryError):
            link.cause, link.code = without(link.cause, texts), without(link.code, texts)
        link = link.__cause__ or link.__context__
    if not any(text in _all_of(error) for text in texts):
        return error
    return _in_its_place(error)


def _hidden_argument(argument: Any, texts: Sequence[str]) -> Any:
    if isinstance(argument, str):
        return without(argument, texts)
    return HIDDEN if any(text in repr(argument) for text in texts) else argument


def _all_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _in_its_place(error: Exception) -> Exception:
    told = f"{type(error).__name__}: its message holds personal data, and is not shown"
    for kind in DeliveryError.__subclasses__():
        if isinstance(error, kind) and kind.__name__ in ("Rejected", "Retryable", "Unavailable"):
            made = kind(told, status=error.status)
            if (after := getattr(error, "after", None)) is not None:
                made.after = after  # type: ignore[attr-defined]  # the same kind has it
            return made
    return DataError(told) if isinstance(error, DataError) else RuntimeError(told)


def _fields(named: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for schema in named.values():
        yield from schema.get("fields", ())


class _Personal:
    """Makes functions that hide; those of named types once: a type may contain itself."""

    def __init__(self, named: dict[str, Any]) -> None:
        self._named = named
        self._made: dict[str, Hide] = {}

    def hidden_in(self, schema: Any) -> Hide:
        """The function for values of a schema, or of any branch of a union."""
        schema = self._named.get(schema, schema) if isinstance(schema, str) else schema
        match avro.kind(schema):
            case "union":
                return self._union(schema)
            case "array":
                items = self.hidden_in(schema["items"])
                return lambda value: [items(one) for one in value] if _listed(value) else value
            case "map":
                values = self.hidden_in(schema["values"])
                return lambda value: (
                    {key: values(one) for key, one in value.items()} if _mapped(value) else value
                )
            case "record" | "error":
                return self._record(schema)
        return lambda value: value

    def _union(self, branches: list[Any]) -> Hide:
        """Of several records each hides what it has: which of them wrote a value is not asked."""
        hides = [self.hidden_in(branch) for branch in branches]

        def hide(value: Any) -> Any:
            for one in hides:
                value = one(value)
            return value

        return hide

    def _record(self, schema: Any) -> Hide:
        name = schema["name"]
        if name in self._made:
            return self._made[name]
        fields: dict[str, Hide] = {}

        def hide(value: Any) -> Any:
            if not _mapped(value):
                return value
            return {key: fields[key](one) if key in fields else one for key, one in value.items()}

        self._made[name] = hide
        for field in schema["fields"]:
            fields[field["name"]] = _mask if is_personal(field) else self.hidden_in(field["type"])
        return hide


def _mask(value: Any) -> Any:
    return None if value is None else HIDDEN


def _listed(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _mapped(value: Any) -> bool:
    return isinstance(value, Mapping)


def _differences(value: Any, hidden: Any) -> Iterator[str]:
    """The texts of a value that are not in its copy."""
    if isinstance(hidden, str):
        if hidden == HIDDEN != value:
            yield from _texts(value)
    elif _mapped(value) and _mapped(hidden):
        for key, one in value.items():
            yield from _differences(one, hidden.get(key))
    elif _listed(value) and _listed(hidden):
        for one, other in zip(value, hidden, strict=True):
            yield from _differences(one, other)


def _texts(value: Any) -> Iterator[str]:
    if _mapped(value):
        for one in value.values():
            yield from _texts(one)
    elif _listed(value):
        for one in value:
            yield from _texts(one)
    elif not isinstance(value, bool | None) and len(text := str(value)) >= MIN_HIDDEN:
        yield text
