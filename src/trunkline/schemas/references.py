"""Schemas that refer to other subjects, made complete in themselves.

A registry may keep a type apart, in a subject of its own, and name it in ``references`` of each
schema that uses it (Confluent's documentation, "Schema references"). Here everything reads and
writes by a schema that defines all that it needs, so the types are put where they are first named.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from trunkline.errors import SerializationError
from trunkline.schemas.names import definitions, inlined, qualified, without_docs
from trunkline.schemas.registry_access import Answer, safe

MOST = 200
"""Schemas that one refers to, and they to others: each is a question to the registry."""


class References:
    """Completes schemas. ``ask``: a question to the registry, by its path. What a version of a
    subject says is asked for once: it never changes."""

    def __init__(self, ask: Callable[[str], Answer]) -> None:
        self._ask = ask
        self._known: dict[tuple[str, int], Answer] = {}

    def completed(self, answer: Answer) -> str:
        """The schema of an answer, with all that it refers to. Raises SerializationError where a
        reference leads nowhere, and what ``ask`` raises."""
        text = answer.body["schema"]
        if not answer.member("references", list):
            return str(text)
        try:
            types = {
                name: node
                for one in self._all_of(answer)
                for name, node in definitions(qualified(json.loads(one.body["schema"])))
            }
            complete = inlined(qualified(json.loads(text)), types.__getitem__, set())
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise SerializationError(f"its references do not make it whole: {error!r}") from error
        return json.dumps(complete, ensure_ascii=False)

    def _all_of(self, answer: Answer) -> list[Answer]:
        """What a schema refers to, and what they refer to."""
        found: dict[tuple[str, int], Answer] = {}
        todo = [answer]
        while todo:
            for one in todo.pop().member("references", list) or ():
                place = _place(one)
                if place in found:
                    continue
                if len(found) == MOST:
                    raise SerializationError(f"it refers to more than {MOST} schemas")
                found[place] = self._version(place)
                todo.append(found[place])
        return list(found.values())

    def _version(self, place: tuple[str, int]) -> Answer:
        known = self._known.get(place)
        if known is None:
            subject, number = place
            known = self._ask(f"/subjects/{safe(subject)}/versions/{number}")
            if known.member("schema", str) is None:
                raise SerializationError(
                    f"it refers to {subject} version {number}, for which the registry answers "
                    f"{known.status}: {known.message}"
                )
            self._known[place] = known
        return known


def _place(reference: Any) -> tuple[str, int]:
    subject, version = reference["subject"], reference["version"]
    if not isinstance(subject, str) or type(version) is not int:
        raise TypeError(f"{reference} names no version of a subject")
    return subject, version


def same_schema(one: str, other: str) -> bool:
    """Whether two complete schemas as JSON say the same to programs."""
    return bool(
        without_docs(qualified(json.loads(one))) == without_docs(qualified(json.loads(other)))
    )
