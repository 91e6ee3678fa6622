"""Avro values in the Confluent wire format: a zero, the schema's id in four bytes, the data.

The format is described in Confluent's documentation, "Wire format" of the schema registry.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar, cast

from trunkline.errors import SerializationError
from trunkline.schemas import avro
from trunkline.schemas.compiled.reader import HEADER, reader
from trunkline.schemas.compiled.writer import writer
from trunkline.schemas.exact.read import Unresolvable, exact_reader
from trunkline.schemas.exact.unfit import Unfit, type_name
from trunkline.schemas.exact.write import exact_writer
from trunkline.schemas.registry import Registry
from trunkline.schemas.types import AvroSchema, schema_of

T = TypeVar("T")

PREFIX = struct.Struct(">bI")
PREFETCHED_AT_ONCE = 16
"""Questions to the registry side by side: a batch of foreign bytes may name thousands of ids."""
Read = Callable[[bytes], Any]
Decode = Callable[[bytes], Any]
Encode = Callable[[Any], bytes]
PrefetchSchemas = Callable[[Iterable[bytes | None]], Awaitable[None]]
"""Makes the schemas of values known before they are decoded; raises one of SCHEMA_UNAVAILABLE."""


async def nothing_to_learn(values: Iterable[bytes | None]) -> None:
    """For values whose schemas need no registry."""


class Codec:
    """Encodes and decodes values under a registry. May be used by any number of threads."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._learnt: set[bytes] = set()

    async def prefetch_schemas(self, values: Iterable[bytes | None]) -> None:
        """Ask for the schemas of these values, where they are not known yet, in a thread: then
        decoding them never keeps the event loop waiting for the registry.

        Raises RegistryUnavailable and ConfigurationError; what is wrong with a value itself is
        left for its decoding to say.
        """
        new = list({value[:5] for value in values if value} - self._learnt)
        for start in range(0, len(new), PREFETCHED_AT_ONCE):
            some = new[start : start + PREFETCHED_AT_ONCE]
            if len(some) == 1:  # nearly always: a topic's writers rarely have two new schemas
                await asyncio.to_thread(self._learn, some[0])
            else:
                await asyncio.gather(*(asyncio.to_thread(self._learn, prefix) for prefix in some))

    def learn_schemas(self, prefixes: set[bytes]) -> set[bytes]:
        """Ask for the schemas that values with these beginnings (``value[:5]``) name, as
        ``prefetch_schemas`` does, in this thread; returns the beginnings that name one."""
        for prefix in prefixes - self._learnt:
            self._learn(prefix)
        return prefixes & self._learnt

    def _learn(self, prefix: bytes) -> None:
        with suppress(SerializationError):
            self._registry.learn(schema_id(prefix))
            self._learnt.add(prefix)

    def encoder(self, cls: type[T], subject: str, *, register: bool) -> Callable[[T], bytes]:
        """A function from values of ``cls`` to bytes; its SerializationError names the field.

        The schema's id is asked for now and not per event. ``register``: whether a schema that the
        subject lacks is registered. Raises ConfigurationError and RegistryUnavailable.
        """
        schema = schema_of(cls)
        ask = self._registry.register if register else self._registry.lookup
        return _encoder(schema, PREFIX.pack(0, ask(subject, schema.json)))

    def decoder(self, cls: type[T]) -> Callable[[bytes], T]:
        """A function from bytes to values of ``cls``, whatever version of its schema wrote them.

        It raises SerializationError for bytes that are no such value, and RegistryUnavailable
        when they name a schema that is not known yet and the registry cannot be asked now.
        """
        return cast(Callable[[bytes], T], self._decoder(schema_of(cls)))

    def decode_any(self, value: bytes) -> Any:
        """The value as its writer saw it; raises as a decoder does."""
        return self._decoder(None)(value)

    def _decoder(self, target: AvroSchema | None) -> Callable[[bytes], Any]:
        readers: dict[bytes, Read] = {}

        def learn(value: bytes) -> Read:
            read = readers[value[:5]] = _reader(self._writer(schema_id(value)), target)
            return read

        def decode(value: bytes) -> Any:
            # Every event comes through here: measure before you add a call.
            try:
                read = readers[value[:5]]
            except KeyError:
                read = learn(value)
            return read(value)

        return decode

    def _writer(self, id: int) -> Any:
        text = self._registry.schema(id)
        try:
            parsed = avro.parse_written(text)
        except Exception as error:  # whatever is wrong with it, no event of it can be read
            raise SerializationError(f"schema {id} is no Avro schema: {error}") from error
        if avro.has_endless_array(parsed):
            raise SerializationError(f"schema {id} has an array of items that take no bytes")
        return parsed


def unregistered(cls: type[T]) -> tuple[Callable[[T], bytes], Callable[[bytes], T]]:
    """What writes and reads values of ``cls`` within a process, without a registry: they are held
    against the schema, and come out as they would of a topic. Raises ConfigurationError."""
    schema = schema_of(cls)
    return _encoder(schema, PREFIX.pack(0, 0)), _reader(schema.parsed, schema)


def schema_id(value: bytes) -> int:
    """The id of the schema that wrote a value. Raises SerializationError for a foreign format."""
    if len(value) < 5 or value[0] != 0:
        raise SerializationError(
            f"{len(value)} bytes that begin with {value[:5].hex()!r} are not in the Confluent wire "
            "format (00, four bytes of schema id, Avro)"
        )
    return int(PREFIX.unpack_from(value)[1])


def _reader(written: Any, target: AvroSchema | None) -> Read:
    """What reads values of a writer's schema, as the type that is wanted, if one is."""
    wanted = written if target is None else target.parsed
    if target is None or not avro.same(written, wanted):
        return _careful(written, wanted)
    return reader(wanted, _careful(wanted, wanted))


def _careful(written: Any, wanted: Any) -> Read:
    """Reads whatever the bytes; an error says what is wrong with them."""
    try:
        read = exact_reader(written, wanted)
    except Unresolvable as error:
        reason = error  # each value has it

        def refuse(value: bytes) -> Any:
            raise _unreadable(value, reason)

        return refuse

    def decode(value: bytes) -> Any:
        try:
            data, end = read(value, HEADER)
        except Exception as error:  # a dozen kinds on bad bytes
            raise _unreadable(value, error) from error
        if end != len(value):
            raise _unreadable(value, f"{len(value) - end} bytes are left over")
        return data

    return decode


def _encoder(schema: AvroSchema, prefix: bytes) -> Callable[[Any], bytes]:
    write = exact_writer(schema.parsed)

    def encode(data: Any) -> bytes:
        if not isinstance(data, Mapping):
            found = type_name(data)
            raise SerializationError(f"{schema.name} is written from a dict, not from {found}")
        try:
            return prefix + write(data)
        except Unfit as unfit:
            raise SerializationError(f"{schema.name}{unfit}") from None
        except Exception as error:  # what a Mapping of somebody's own raises
            raise SerializationError(f"{schema.name}: {type(error).__name__}") from error

    return writer(schema.parsed, prefix, encode)


def _unreadable(value: bytes, why: object) -> SerializationError:
    if isinstance(why, Exception):
        why = f"{type(why).__name__}: {why}" if str(why) else type(why).__name__
    return SerializationError(
        f"the value ({len(value)} bytes) cannot be read with its schema {schema_id(value)}: {why}"
    )
