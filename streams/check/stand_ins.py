"""Parameters that stand in for those of an environment, so that connectors can be built without.

A check without an environment knows a parameter's type alone, and what it makes up may suit no
builder: a URL of another kind, a word that no table has. So a flow has several sets of stand-ins,
and only what is wrong with all of them is wrong without them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from trunkline.params import Params, Secret

FORMS: tuple[str, ...] = (
    "http://stand-in-{n}.invalid",
    "postgresql://stand:in@stand-in-{n}.invalid/stand_in_{n}",
    "mysql://stand:in@stand-in-{n}.invalid/stand_in_{n}",
    "sqlite:////nowhere/stand-in-{n}.db",
    "stand-in-{n}",
    "/stand-in-{n}",
    "by name",
)
"""What a text may be. Whole URLs, or a part of one that a builder completes."""
SETS = 4
"""Sets of each form: with and without the fields' defaults, two of each. What an error quotes of
a value, or one choice of several, then differs between them."""
_BY_NAME: tuple[tuple[str, str], ...] = (
    ("dsn", FORMS[1]),
    ("url", FORMS[0]),
    ("uri", FORMS[0]),
    ("path", FORMS[5]),
    ("folder", FORMS[5]),
)


def stand_ins(params: type[Params]) -> Iterator[Params]:
    """Sets of made-up parameters, which are not validated: a pattern may ask for anything."""
    for form in FORMS:
        for n in range(1, SETS + 1):
            yield _model(params, form, n)


def _model(model: type[BaseModel], form: str, n: int) -> Any:
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if field.is_required() or n % 2:
            values[name] = _value(field.annotation, name, form, n)
        else:
            values[name] = field.get_default(call_default_factory=True, validated_data=values)
    return model.model_construct(**values)


def _value(annotation: Any, name: str, form: str, n: int) -> Any:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _value(inner[0], name, form, n)
    if origin in (Union, UnionType):
        known = [part for part in inner if part is not type(None)]
        return _value(known[0], name, form, n)
    if origin is Literal:
        return inner[n // 2 % len(inner)]
    if origin in (list, set, frozenset, tuple):
        items = [_value(part, name, form, n) for part in inner if part is not Ellipsis]
        return origin(items)
    if origin is dict:
        key, value = (_value(part, name, form, n) for part in inner)
        return {key: value}
    if not isinstance(annotation, type):
        return _text(name, form, n)
    return _of_class(annotation, name, form, n)


def _of_class(cls: type[Any], name: str, form: str, n: int) -> Any:
    if issubclass(cls, Enum):
        return list(cls)[n // 2 % len(cls)]
    if issubclass(cls, BaseModel):
        return _model(cls, form, n)
    if cls is bool:
        return n > 2
    make = _MADE.get(cls)
    return make(_text(name, form, n), n) if make else _of_text(cls, _text(name, form, n))


_MADE: dict[type[Any], Callable[[str, int], Any]] = {
    str: lambda text, n: text,
    Secret: lambda text, n: Secret(text),
    bytes: lambda text, n: text.encode(),
    int: lambda text, n: n,
    float: lambda text, n: float(n),
    timedelta: lambda text, n: timedelta(seconds=n),
    Path: lambda text, n: Path(text),
}


def _of_text(cls: type[Any], text: str) -> Any:
    """A value of another class, as pydantic's URLs and SecretStr, or the text where it takes none:
    what fails then is the stand-in's fault."""
    try:
        return cls(text)
    except Exception:  # noqa: BLE001 - a class of the user's, which may raise anything
        return text


def _text(name: str, form: str, n: int) -> str:
    if form == "by name":
        known = (of for part, of in _BY_NAME if part in name.lower())
        form = next(known, FORMS[4])
    # Of each parameter another, so that two are never taken for one.
    return form.format(n=f"{n}-{name}".replace("_", "-"))
