"""A schema registry in memory: it gives ids, and forgets everything with the test."""

from __future__ import annotations

from trunkline.errors import SerializationError
from trunkline.schemas.registry import Registry


class MemoryRegistry(Registry):
    """A registry that takes every schema. What is encoded and decoded with it is real Avro."""

    def __init__(self) -> None:
        self._given: list[str] = []

    def schema(self, id: int) -> str:
        """The schema with this id."""
        if not 0 < id <= len(self._given):
            raise SerializationError(f"schema {id} is unknown to the test's registry")
        return self._given[id - 1]

    def learn(self, id: int) -> str:
        """As ``schema``: there is nobody to ask."""
        return self.schema(id)

    def register(self, subject: str, schema_json: str) -> int:
        """The id of the schema, the same for all subjects."""
        del subject
        if schema_json not in self._given:
            self._given.append(schema_json)
        return self._given.index(schema_json) + 1

    def lookup(self, subject: str, schema_json: str) -> int:
        """As ``register``: here every schema is known."""
        return self.register(subject, schema_json)

    def compatible(self, subject: str, schema_json: str) -> list[str]:
        """Nothing speaks against anything."""
        del subject, schema_json
        return []

    def close(self) -> None:
        """Nothing to release."""
