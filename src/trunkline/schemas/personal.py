"""Which fields hold personal data, and values without them: ``confluent:tags`` of their schema.

A field that is tagged ``PII``, ``PRIVATE`` or ``SENSITIVE`` (in any case; Confluent's catalogue has
these tags) is personal, with everything in it. What people and machines are shown of it is ``***``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, time
from typing import Any

from trunkline.errors import DataError, DeliveryError, RuleViolations, Violation
from trunkline.masking import forms_of
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
    """The texts of what has one of these names, the longest first; of JSON however deep: what a
    source got is anybody's."""
    found: set[str] = set()
    todo = [(value, False)]
    while todo:
        one, hidden = todo.pop()
        if _mapped(one):
            todo += [(inner, hidden or name in names) for name, inner in one.items()]
        elif _listed(one):
            todo += [(inner, hidden) for inner in one]
        elif hidden:
            found.update(_texts(one))
    return sorted(found, key=len, reverse=True)


def hide_in(error: Exception, texts: Sequence[str]) -> Exception:
    """The error, changed so that neither it nor what it was raised from tells one of these texts,
    in whatever form a system repeats it: errors go to logs, headers, alerts. What it was raised
    from is no longer told where that cannot be changed; and where it cannot itself, there is
    another one in its place: of its kind if it is an instruction or a DataError, else a
    RuntimeError."""
    if not texts:
        return error
    texts = sorted({form for text in texts for form in _forms(text)}, key=len, reverse=True)
    for link in _chain(error):
        link.args = tuple(_hidden_argument(one, texts) for one in link.args)
        if notes := getattr(link, "__notes__", ()):
            link.__notes__ = [without(str(note), texts) for note in notes]
        if isinstance(link, RuleViolations):
            link.violations = tuple(
                Violation(rule, without(field, texts), without(message, texts))
                for rule, field, message in link.violations
            )
        if isinstance(link, DeliveryError):
            link.cause, link.code = without(link.cause, texts), without(link.code, texts)
    if _tells(error, texts):
        error.__cause__ = error.__context__ = None
    return _in_its_place(error) if _tells(error, texts) else error


def _forms(text: str) -> set[str]:
    return {text} if text.isascii() and text.isalnum() else forms_of(text)


def _hidden_argument(argument: Any, texts: Sequence[str]) -> Any:
    if isinstance(argument, str):
        return without(argument, texts)
    try:
        return HIDDEN if any(text in repr(argument) for text in texts) else argument
    except Exception:  # noqa: BLE001 - of somebody's object, or of lists that are nested too deep
        return HIDDEN


def _tells(error: BaseException, texts: Sequence[str]) -> bool:
    """Whether one of the texts is in what the error says, or what it was raised from. Of a
    traceback that is the words alone: its lines of code are the same for everybody's data, and have
    ``Event`` for an Eve."""
    return any(text in said for link in _chain(error) for said in _said(link) for text in texts)


def _said(link: BaseException) -> Iterator[str]:
    with suppress(Exception):  # of somebody's class: a traceback does not tell it either
        yield str(link)
    yield from map(str, getattr(link, "__notes__", ()))
    if isinstance(link, SyntaxError):
        yield str(link.text)


def _chain(error: BaseException) -> list[BaseException]:
    """The error, and what a traceback of it shows besides."""
    found: dict[int, BaseException] = {}
    todo: list[BaseException | None] = [error]
    while todo:
        link = todo.pop()
        if link is not None and id(link) not in found:
            found[id(link)] = link
            todo += [link.__cause__, link.__context__, *getattr(link, "exceptions", ())]
    return list(found.values())


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
    elif isinstance(value, str):
        if len(value) >= MIN_HIDDEN:
            yield value
    elif not isinstance(value, bool | None):
        # datetime.date(1980, 5, 17) stands in a KeyError, 1980-05-17T07:00:00 in an address.
        iso = [value.isoformat()] if isinstance(value, date | time) else []
        yield from {text for text in (str(value), repr(value), *iso) if len(text) >= MIN_HIDDEN}
