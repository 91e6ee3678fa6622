"""A flow made ready to run: functions with their schemas, topics and registry ids looked up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from trunkline.connectors.base import Sink
from trunkline.params import Params
from trunkline.schemas.codec import Codec, unregistered
from trunkline.schemas.personal import PersonalTexts, personal_names, personal_texts
from trunkline.schemas.subjects import subject
from trunkline.schemas.types import schema_of
from trunkline.streams.check.built import delete_problem
from trunkline.streams.enrichment.clients import BuildClient
from trunkline.streams.enrichment.enricher import CompiledEnrichment
from trunkline.streams.flow.annotations import (
    annotation_error,
    type_of_destination,
    type_of_inbox,
    type_of_request,
    type_of_sent,
    type_of_topic,
)
from trunkline.streams.flow.definition import Destination, Flow, Route, Topic
from trunkline.streams.flow.env_parameters import env_parameters
from trunkline.streams.flow.imported import ImportedOperation
from trunkline.streams.flow.injection import clients_of, type_of_client
from trunkline.streams.flow.source import SourceDefinition
from trunkline.streams.flow.table_parameters import tables_of
from trunkline.streams.plan.needs import operation_subject
from trunkline.streams.publish.publisher import Publisher, TopicMapping
from trunkline.streams.replay.path import DestinationPath
from trunkline.streams.route.compiled import CompiledCall, CompiledRoute, CompiledTopic, given
from trunkline.streams.route.router import Router
from trunkline.streams.tables.table_set import TableSet

if TYPE_CHECKING:
    from trunkline.streams.tracing.traces import Traces


class Compiler:
    """Compiles the parts of one flow. Raises ConfigurationError for what is wrong with it, and
    RegistryUnavailable. ``register``: whether missing schemas may be registered; ``subjects``: the
    strategy by which their subjects are named; ``env``: what routes get that ask for the flow's
    parameters; ``tables``: what they look up, which needs a store before any of them runs;
    ``traces``: what makes publishers and routers that tell of what they do."""

    def __init__(
        self,
        flow: Flow[Any],
        codec: Codec,
        *,
        register: bool,
        subjects: str = "topic",
        env: Params | None = None,
        traces: Traces | None = None,
    ) -> None:
        self._traces = traces
        self._subjects = subjects
        self._flow = flow
        self._env = env
        self._codec = codec
        self.tables = TableSet(flow, codec)
        self._register = register

    def publisher(self, source: SourceDefinition[Any]) -> Publisher:
        """What turns a source's records into canonical events."""
        outputs = [self._output(t) for t in self._flow.topics if source in t.sources]
        name = f"/{self._flow.name}/{source.name}"
        parts = (name, source.dlq, outputs, self._flow.version, source.ignore)
        if self._traces is None:
            return Publisher(*parts)
        return self._traces.publisher(*parts, flow=self._flow.name, source=source.name)

    def router(self, sinks: dict[str, Sink[Any]]) -> Router:
        """The flow's routes. ``sinks``: by destination, for what each can take."""
        topics = self._topics(self._flow.routes, sinks)
        if self._traces is None:
            return self._router(topics)
        parts = (topics, self._codec.ask_for_schemas, self._flow.version)
        return self._traces.router(*parts, flow=self._flow.name)

    def path_to(self, destination: Destination[Any, Any], sink: Sink[Any]) -> DestinationPath:
        """Today's path to one destination, for a replay."""
        routes = [route for route in self._flow.routes if route.to is destination]
        topics = self._topics(routes, {destination.name: sink})
        # A sink that says nothing is taken for one that overwrites: an old event that is sent to it
        # again would put it back to an old state.
        appends = bool(getattr(sink, "appends", False))
        return DestinationPath(
            destination.name,
            destination.inbox,
            topics,
            self._router(topics),
            self._codec.prefetch_schemas,
            appends,
        )

    def _router(self, topics: dict[str, CompiledTopic]) -> Router:
        return Router(topics, self._codec.ask_for_schemas, self._flow.version)

    def _topics(
        self, routes: Sequence[Route[Any, Any]], sinks: dict[str, Sink[Any]]
    ) -> dict[str, CompiledTopic]:
        """The topics that these routes listen to."""
        topics = {}
        for topic in self._flow.topics:
            its = [self._route(r, sinks[r.to.name]) for r in routes if r.topic is topic]
            if its:
                type = type_of_topic(topic)
                personal = personal_texts(schema_of(type).parsed)
                topics[topic.topic] = CompiledTopic(self._codec.decoder(type), its, personal)
        return topics

    def decoder_of(self, destination: Destination[Any, Any]) -> Callable[[bytes], Any]:
        """What reads the values of a destination's inbox."""
        decode: Callable[[bytes], Any] = self._codec.decoder(type_of_inbox(destination))
        return decode

    def personal_of(self, destination: Destination[Any, Any]) -> PersonalTexts | None:
        """What of the messages and requests that a destination gets no error may tell; None if
        their types have nothing that is tagged as personal."""
        requests = [type_of_request(operation) for operation in destination.operations]
        parsed = [schema_of(t).parsed for t in (type_of_inbox(destination), *requests)]
        found = [texts for one in parsed if (texts := personal_texts(one)) is not None]
        if not found:
            return None
        return lambda data: [text for texts in found for text in texts(data)]

    def call_decoders_of(
        self, destination: Destination[Any, Any]
    ) -> dict[str, Callable[[bytes], Any]]:
        """What reads the requests of a destination's operations, by their names."""
        return {
            operation.name: self._codec.decoder(type_of_request(operation))
            for operation in destination.operations
        }

    def enrichment_of(
        self,
        destination: Destination[Any, Any],
        env: Params,
        clients: Mapping[type, Any] | None = None,
    ) -> CompiledEnrichment | None:
        """What is called for the destination's messages before its sink, if anything is.
        ``clients``: instead of the flow's own, by their types."""
        declared = destination.enrichment
        if declared is None:
            return None
        accepts: type[Any] = type_of_destination(destination)
        encode, read = unregistered(accepts)
        builds: dict[str, BuildClient] = {}
        given: dict[str, Any] = {}
        for name, client in clients_of(declared).items():
            if (kind := type_of_client(client)) in (clients or {}):
                given[name] = (clients or {})[kind]
            else:
                builds[name] = partial(client, env)
        return CompiledEnrichment(
            declared.name,
            declared.function,
            declared.policy,
            decode=self.decoder_of(destination),
            encode=encode,
            read=read,
            fixed={**dict.fromkeys(env_parameters(declared), env), **given},
            builds=builds,
        )

    def _output(self, topic: Topic[Any]) -> TopicMapping:
        return TopicMapping(
            topic=topic.topic,
            function=topic.function,
            encode=self._encoder(type_of_topic(topic), topic.topic),
            key=topic.key,
            event_type=topic.event_type,
            streams=topic.streams,
            personal=personal_names(schema_of(type_of_topic(topic)).parsed),
        )

    def _encoder(self, type: type[Any], topic: str) -> Callable[[Any], bytes]:
        name = subject(topic, schema_of(type).json, self._subjects)
        encode: Callable[[Any], bytes] = self._codec.encoder(type, name, register=self._register)
        return encode

    def _route(self, route: Route[Any, Any], sink: Sink[Any]) -> CompiledRoute:
        inbox = route.to.inbox
        # Looked at here too: `trunkline check` without an environment builds no sink to ask.
        if problem := delete_problem(route, sink):
            raise annotation_error(route, problem)
        operation, call, written = route.operation, None, inbox
        if operation is not None:
            client = f"flow/{self._flow.name}"
            sent = operation.sent if isinstance(operation, ImportedOperation) else None
            call = CompiledCall(operation.name, operation.policy.key, client, sent)
            written = operation_subject(operation)
        encode = self._encoder(type_of_sent(route), written)
        further: dict[str, Any] = dict.fromkeys(env_parameters(route), self._env)
        further |= {name: self.tables.lookup(t) for name, t in tables_of(route).items()}
        return CompiledRoute.of(
            given(route.function, further) if further else route.function,
            name=route.name,
            inbox=inbox,
            dlq=route.to.dlq,
            encode=encode,
            only=route.only,
            accepts_deletes=sink.accepts_deletes and call is None,
            call=call,
            deletes=route.deletes,
            otherwise_delete=route.otherwise == "delete",
        )
