"""Avro values in the Confluent wire format: a zero, the schema's id in four bytes, the data.

The format is described in Confluent's documentation, "Wire format" of the schema registry.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar, cast

from trunkline.errors import (
    SCHEMA_UNAVAILABLE,
    RegistryUnavailable,
    RuleViolations,
    SerializationError,
)
from trunkline.schemas import avro
from trunkline.schemas.compiled.reader import HEADER, reader
from trunkline.schemas.compiled.writer import writer
from trunkline.schemas.exact.read import Unresolvable, exact_reader
from trunkline.schemas.exact.unfit import Unfit, type_name
from trunkline.schemas.exact.write import exact_writer
from trunkline.schemas.personal import Hide, hider
from trunkline.schemas.registry import Registry
from trunkline.schemas.types import AvroSchema, schema_of

T = TypeVar("T")

PREFIX = struct.Struct(">bI")
ASKED_AT_ONCE = 16
"""Questions to the registry side by side: a batch of foreign bytes may name thousands of ids."""
Read = Callable[[bytes], Any]
Decode = Callable[[bytes], Any]
Encode = Callable[[Any], bytes]
PrefetchSchemas = Callable[[Iterable[bytes | None]], Awaitable[None]]
"""Makes the schemas of values known before they are decoded; raises one of SCHEMA_UNAVAILABLE."""
MissingSchemas = Mapping[bytes, Exception]
"""Why schemas are not known for now, by the first five bytes of the values that they wrote."""
AskForSchemas = Callable[[Iterable[bytes | None], float], Awaitable[MissingSchemas]]
"""As ``Codec.ask_for_schemas``."""

NONE_MISSING: MissingSchemas = {}


async def nothing_to_learn(values: Iterable[bytes | None]) -> None:
    """For values whose schemas need no registry."""


async def nothing_to_ask(values: Iterable[bytes | None], patience: float) -> MissingSchemas:
    """Likewise."""
    return NONE_MISSING


class Codec:
    """Encodes and decodes values under a registry. May be used by any number of threads."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._learnt: set[bytes] = set()
        self._questions: dict[bytes, asyncio.Task[None]] = {}

    async def prefetch_schemas(self, values: Iterable[bytes | None]) -> None:
        """Ask for the schemas of these values, where they are not known yet, in a thread: then
        decoding them never keeps the event loop waiting for the registry.

        Raises one of SCHEMA_UNAVAILABLE; what is wrong with a value itself is left for its
        decoding to say.
        """
        # Every call of a sink comes through here: measure before you add a call.
        learnt = self._learnt
        new = {start for value in values if value and (start := value[:5]) not in learnt}
        if new:
            for reason in (await self._ask(new, float("inf"))).values():
                raise reason

    async def ask_for_schemas(
        self, values: Iterable[bytes | None], patience: float
    ) -> MissingSchemas:
        """As ``prefetch_schemas``, for up to ``patience`` seconds, and returns which schemas could
        not be had. A question that has no answer by then goes on: whoever asks next joins it."""
        new = {value[:5] for value in values if value} - self._learnt
        return await self._ask(new, patience) if new else NONE_MISSING

    async def _ask(self, prefixes: set[bytes], patience: float) -> MissingSchemas:
        at_once = asyncio.Semaphore(ASKED_AT_ONCE)
        questions = {p: self._question(p, at_once) for p in prefixes if _names_a_schema(p)}
        if not questions:
            return NONE_MISSING
        endless = patience == float("inf")
        await asyncio.wait(questions.values(), timeout=None if endless else patience)
        missing: dict[bytes, Exception] = {}
        for prefix, question in questions.items():
            if not question.done():
                told = f"schema {schema_id(prefix)} for {patience:g} s"
                missing[prefix] = RegistryUnavailable(f"the schema registry has not told {told}")
            elif isinstance(reason := question.exception(), SCHEMA_UNAVAILABLE):
                missing[prefix] = reason
            elif reason is not None:
                raise reason
        return missing

    def _question(self, prefix: bytes, at_once: asyncio.Semaphore) -> asyncio.Task[None]:
        """The question for a schema: the one that is under way, if one is. Against a registry that
        hangs, one for each of 16 partitions would take all threads of the event loop."""

        async def ask() -> None:
            async with at_once:
                await asyncio.to_thread(self._learn, prefix)

        def asked(question: asyncio.Task[None]) -> None:
            del self._questions[prefix]
            if not question.cancelled():
                question.exception()  # or Python complains, where nobody had the patience

        if (under_way := self._questions.get(prefix)) is not None:
            return under_way
        question = self._questions[prefix] = asyncio.create_task(ask())
        question.add_done_callback(asked)
        return question

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
        """A function from values of ``cls`` to bytes; its SerializationError names the field, and
        its RuleViolations the rules of the schema that a value breaks.

        The schema's id is asked for now and not per event. ``register``: whether a schema that the
        subject lacks is registered. Raises ConfigurationError and RegistryUnavailable.
        """
        schema = schema_of(cls)
        ask = self._registry.register if register else self._registry.lookup
        return _encoder(schema, PREFIX.pack(0, ask(subject, schema.json)))

    def decoder(self, cls: type[T], *, skip: int = 0) -> Callable[[bytes], T]:
        """A function from bytes to values of ``cls``, whatever version of its schema wrote them.

        ``skip``: how many bytes stand before the value. It raises SerializationError for bytes that
        are no such value, and RegistryUnavailable when they name a schema that is not known yet and
        the registry cannot be asked now.
        """
        return cast(Callable[[bytes], T], self._decoder(schema_of(cls), skip))

    def decode_any(self, value: bytes) -> Any:
        """The value as its writer saw it; raises as a decoder does."""
        return self._decoder(None)(value)

    def shown_decoder(self) -> Decode:
        """As ``any_decoder``, and what the writer's schema tags as personal is ``***``: for values
        that are shown."""
        return self._decoder(None, hidden=True)

    def any_decoder(self) -> Decode:
        """A function from bytes to values as their writers saw them, for many; raises as a decoder
        does. Learns each schema once."""
        return self._decoder(None)

    def _decoder(
        self, target: AvroSchema | None, skip: int = 0, *, hidden: bool = False
    ) -> Callable[[bytes], Any]:
        readers: dict[bytes, Read] = {}
        prefix = slice(skip, skip + HEADER)

        def learn(value: bytes) -> Read:
            written = self._writer(schema_id(value[skip:]))
            read = _reader(written, target, skip)
            if hidden and (hide := hider(written)) is not None:
                read = _composed(hide, read)
            readers[value[prefix]] = read
            return read

        def decode(value: bytes) -> Any:
            # Every event comes through here: measure before you add a call.
            try:
                read = readers[value[prefix]]
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
    if not _names_a_schema(value):
        raise SerializationError(
            f"{len(value)} bytes that begin with {value[:5].hex()!r} are not in the Confluent wire "
            "format (00, four bytes of schema id, Avro)"
        )
    return int(PREFIX.unpack_from(value)[1])


def _names_a_schema(value: bytes) -> bool:
    return len(value) >= 5 and value[0] == 0


def _reader(written: Any, target: AvroSchema | None, skip: int = 0) -> Read:
    """What reads values of a writer's schema, as the type that is wanted, if one is."""
    wanted = written if target is None else target.parsed
    if target is None or not avro.same(written, wanted):
        return _careful(written, wanted, skip)
    return reader(wanted, _careful(wanted, wanted, skip), skip)


def _composed(hide: Hide, read: Read) -> Read:
    return lambda value: hide(read(value))


def _careful(written: Any, wanted: Any, skip: int) -> Read:
    """Reads whatever the bytes behind the first ``skip``; an error says what is wrong with them."""
    try:
        read = exact_reader(written, wanted)
    except Unresolvable as error:
        reason = error  # each value has it

        def refuse(value: bytes) -> Any:
            raise _unreadable(value[skip:], reason)

        return refuse

    def decode(value: bytes) -> Any:
        try:
            data, end = read(value, HEADER + skip)
        except Exception as error:  # a dozen kinds on bad bytes
            raise _unreadable(value[skip:], error) from error
        if end != len(value):
            raise _unreadable(value[skip:], f"{len(value) - end} bytes are left over")
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

    return _obeying(schema, writer(schema.parsed, prefix, encode))


def _obeying(schema: AvroSchema, encode: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """``encode``, and RuleViolations for a value that breaks rules of its schema. Encoded first:
    rules are written for values that fit."""
    check = schema.check
    if check is None:
        return encode

    def encode_checked(data: Any) -> bytes:
        value = encode(data)
        if found := check(data):
            raise RuleViolations(schema.name, found)
        return value

    return encode_checked


def _unreadable(value: bytes, why: object) -> SerializationError:
    if isinstance(why, Exception):
        why = f"{type(why).__name__}: {why}" if str(why) else type(why).__name__
    return SerializationError(
        f"the value ({len(value)} bytes) cannot be read with its schema {schema_id(value)}: {why}"
    )
