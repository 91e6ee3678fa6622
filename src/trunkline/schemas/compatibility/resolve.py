"""The rules by which one schema reads what another one wrote, as the Avro specification has them.

Stricter than reading itself: a branch of a union or a symbol that the reader lacks is an error
there only when it comes, and here at once, since nobody knows when it does. Verdicts are those of
Avro's own ``SchemaCompatibility``, which registries ask; it stops at the first reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from trunkline.schemas import avro
from trunkline.schemas.exact.describe import describe

_PROMOTED = {
    "long": ("int",),
    "float": ("int", "long"),
    "double": ("int", "long", "float"),
    "string": ("bytes",),
    "bytes": ("string",),
}
_NAMED = ("record", "enum", "fixed")


class Incompatibility(NamedTuple):
    """A reason why a reader fails. ``path``: of the field, from the outermost type, as
    ``shop.Order.lines[].sku``."""

    path: str
    reason: str
    mend: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}: {self.mend}"


def incompatibilities(reader: str, writer: str) -> list[Incompatibility]:
    """Why values of the schema ``writer`` cannot all be read with the schema ``reader``; [] if they
    can. Both are JSON; raises what parsing raises."""
    read, written = avro.parse(reader), avro.parse_written(writer)
    check = _Check(avro.named_types(read), avro.named_types(written))
    return list(dict.fromkeys(check.of(read, written, describe(read).partition(" ")[2] or "value")))


class _Check:
    """Compares types. ``_under_way``: pairs of named types that are compared already: a type that
    contains itself is as compatible as the rest of it."""

    def __init__(self, readers: dict[str, Any], writers: dict[str, Any]) -> None:
        self._readers = readers
        self._writers = writers
        self._under_way: set[tuple[str, str]] = set()

    def of(self, reader: Any, writer: Any, path: str) -> Iterator[Incompatibility]:
        """What speaks against reading ``writer`` as ``reader``."""
        if isinstance(reader, str):
            reader = self._readers.get(reader, reader)
        if isinstance(writer, str):
            writer = self._writers.get(writer, writer)
        if avro.kind(writer) == "union":
            for branch in writer:
                yield from self.of(reader, branch, path)
        elif avro.kind(reader) == "union":
            yield from self._as_branch(reader, writer, path)
        else:
            yield from self._plain(reader, writer, path)

    def _as_branch(self, reader: list[Any], writer: Any, path: str) -> Iterator[Incompatibility]:
        """One branch that reads it is enough. If none does, those of its own name tell why."""
        found = [list(self.of(branch, writer, path)) for branch in reader]
        if all(found):
            named = [
                problems
                for branch, problems in zip(reader, found, strict=True)
                if _short(branch, self._readers) == _short(writer, self._writers) != ""
            ]
            yield from (
                named[0]
                if named
                else [
                    Incompatibility(
                        path,
                        f"{describe(writer)} is written, and the reader takes {describe(reader)}",
                        "add the branch to readers first, and write it once all of them have it",
                    )
                ]
            )

    def _plain(self, reader: Any, writer: Any, path: str) -> Iterator[Incompatibility]:
        kind, written = avro.kind(reader), avro.kind(writer)
        if kind != written:
            if written not in _PROMOTED.get(kind, ()):
                yield Incompatibility(
                    path,
                    f"{describe(writer)} is written, {describe(reader)} is read",
                    "keep the type, and put a new field with a default beside it",
                )
        elif kind in _NAMED:
            pair = str(reader["name"]), str(writer["name"])
            if not _same_name(reader, writer):
                yield Incompatibility(
                    path,
                    f"{pair[1]} is written, {pair[0]} is read",
                    f"keep the name, or name the old one in the new type's aliases: {pair[1]}",
                )
            elif pair not in self._under_way:
                self._under_way.add(pair)
                yield from getattr(self, f"_{kind}")(reader, writer, path)
                self._under_way.discard(pair)
        elif kind == "array":
            yield from self.of(reader["items"], writer["items"], f"{path}[]")
        elif kind == "map":
            yield from self.of(reader["values"], writer["values"], f"{path}{{}}")

    def _record(self, reader: Any, writer: Any, path: str) -> Iterator[Incompatibility]:
        written = {field["name"]: field for field in writer["fields"]}
        for field in reader["fields"]:
            names = [field["name"], *field.get("aliases", ())]
            other = next((written[name] for name in names if name in written), None)
            inner = f"{path}.{field['name']}"
            if other is not None:
                yield from self.of(field["type"], other["type"], inner)
            elif "default" not in field:
                yield Incompatibility(
                    inner,
                    "the reader needs the field, and it is not written",
                    "give the field a default where it is read, before a writer is without it",
                )

    def _enum(self, reader: Any, writer: Any, path: str) -> Iterator[Incompatibility]:
        new = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
        if new and reader.get("default") is None:
            yield Incompatibility(
                path,
                f"{', '.join(new)} may be written, which the reader does not know",
                "give the enum a default, deploy all readers, then add symbols",
            )

    def _fixed(self, reader: Any, writer: Any, path: str) -> Iterator[Incompatibility]:
        if reader["size"] != writer["size"]:
            yield Incompatibility(
                path,
                f"{writer['size']} bytes are written, {reader['size']} are read",
                "keep the size, and put a new field with a default beside it",
            )


def _short(schema: Any, named: dict[str, Any]) -> str:
    """The name without its namespace of a named type, "" of any other."""
    schema = named.get(schema, schema) if isinstance(schema, str) else schema
    return str(schema["name"]).rpartition(".")[2] if avro.kind(schema) in _NAMED else ""


def _same_name(reader: Any, writer: Any) -> bool:
    """As Avro has it: namespaces do not count."""
    full = str(writer["name"])
    same = str(reader["name"]).rpartition(".")[2] == full.rpartition(".")[2]
    return same or full in reader.get("aliases", ())
