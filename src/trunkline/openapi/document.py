"""A document of which references are followed."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from trunkline.errors import ConfigurationError
from trunkline.openapi.reading import Pointer, Text

MAX_HOPS = 50
"""References that lead to one another."""


class Unusable(Exception):
    """Something in a document cannot be used: what, and where."""

    def __init__(self, reason: str, at: Pointer) -> None:
        super().__init__(reason)
        self.reason = reason
        self.at = at


class Document:
    """An OpenAPI document. ``version``: as it says. Raises ConfigurationError for what is none, or
    of another version than 3.0, 3.1 or 3.2."""

    def __init__(self, text: Text) -> None:
        self.text = text
        self.value: dict[str, Any] = text.value
        self.version = str(self.value.get("openapi", ""))
        if "swagger" in self.value and not self.version:
            told = f"it is Swagger {self.value['swagger']}: convert it to OpenAPI 3"
            raise ConfigurationError(told)
        if not self.version.startswith(("3.0", "3.1", "3.2")):
            said = repr(self.version[:20]) if self.version else "nothing"
            raise ConfigurationError(f"its member openapi says {said}: 3.0 and 3.1 are read")

    @property
    def info(self) -> dict[str, Any]:
        """What it says of itself."""
        found = self.value.get("info")
        return found if isinstance(found, dict) else {}

    def at(self, pointer: Pointer) -> Any:
        """What stands there. Raises LookupError."""
        value: Any = self.value
        for name in pointer:
            if isinstance(value, list) and name.isdecimal():
                value = value[int(name)]
            elif isinstance(value, dict):
                value = value[name]
            else:
                raise LookupError(name)
        return value

    def followed(self, value: Any, at: Pointer) -> tuple[Any, Pointer]:
        """What a reference leads to, and where that stands; anything else as it is. Raises
        Unusable."""
        for _ in range(MAX_HOPS):
            if not isinstance(value, dict) or "$ref" not in value:
                return value, at
            value, at = self.target(value["$ref"], at)
        raise Unusable("its references lead to one another without an end", at)

    def target(self, reference: Any, at: Pointer) -> tuple[Any, Pointer]:
        """What one reference leads to, and where. Raises Unusable."""
        to = pointer_of(reference, at)
        try:
            return self.at(to), to
        except LookupError:
            raise Unusable(f"{str(reference)[:200]} leads nowhere", (*at, "$ref")) from None


def pointer_of(reference: Any, at: Pointer) -> Pointer:
    """Where a reference leads in its own document. Raises Unusable for any other."""
    if not isinstance(reference, str):
        raise Unusable("its $ref is no text", (*at, "$ref"))
    if not reference.startswith("#"):
        told = f"{reference[:200]} is another document: bundle both into one"
        raise Unusable(told, (*at, "$ref"))
    path = unquote(reference[1:])
    if path and not path.startswith("/"):
        raise Unusable(f"{reference[:200]} is an anchor, and no JSON pointer", (*at, "$ref"))
    return tuple(one.replace("~1", "/").replace("~0", "~") for one in path.split("/")[1:])


def reference_to(pointer: Pointer) -> str:
    """The reference that leads to a pointer."""
    return "#" + "".join("/" + one.replace("~", "~0").replace("/", "~1") for one in pointer)
