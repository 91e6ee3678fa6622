"""What a source gives, beside what the topics of its flow take: nothing may vanish between them.

A record of a stream that no topic takes is a dead letter of the source. Where the source knows its
streams beforehand that is told before the first record, and so is a topic that waits for a stream
which never comes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from trunkline.errors import ConfigurationError
from trunkline.streams.flow.definition import Flow, Topic
from trunkline.streams.flow.problems import Problem
from trunkline.streams.flow.source import AnySource, SourceDefinition

Streams = Sequence[str] | None
"""What a connector says of itself: every stream that can come, or None where it does not know."""


def streams_of(connector: AnySource) -> Streams:
    """What a connector says of its streams. Raises ConfigurationError for a text: of a source that
    says ``"orders"`` each letter would be a stream."""
    given = connector.streams()
    if isinstance(given, str):
        raise ConfigurationError(f"its streams() is the text {given!r}: a list of names is wanted")
    return given


def stream_problems(flow: Flow[Any], given: Mapping[str, Streams]) -> Iterator[Problem]:
    """Streams that nobody takes, and such as nobody gives. ``given``: by source; what a source
    does not say, or one that is missing in it, is no mistake."""
    for source in flow.sources:
        yield from streams_left_over(flow, source, given.get(source.name))
    for topic in flow.topics:
        yield from streams_never_given(topic, given)


def streams_left_over(
    flow: Flow[Any], source: SourceDefinition[Any], given: Streams
) -> Iterator[Problem]:
    """What a source gives and no topic takes, nor ``ignore=`` names; and what that names in vain.

    What a topic most likely meant by a name of its own that is wrong is told there alone.
    """
    if given is None:
        return
    for name in source.ignore:
        if name not in given:
            yield _problem(
                source, f"ignore={name!r}: it gives no such stream{_instead(name, given)}"
            )
    topics = [topic for topic in flow.topics if source in topic.sources]
    if not topics or not all(topic.streams for topic in topics):
        return  # one takes all; or none takes any, which the check of the wiring has said
    taken = {name for topic in topics for name in topic.streams}
    alone = [topic for topic in topics if topic.sources == (source,)]
    meant = {_nearest(name, given) for topic in alone for name in topic.streams}
    for name in given:
        if name not in taken | meant | set(source.ignore):
            mend = f"name it in stream= of one, or in ignore= of {source.name}"
            yield _problem(source, f"no topic takes its stream {name!r}: {mend}")


def streams_never_given(topic: Topic[Any], given: Mapping[str, Streams]) -> Iterator[Problem]:
    """Names of ``stream=`` that no source of the topic has, if all of them say what they have."""
    all_: list[str] = []
    for source in topic.sources:
        streams = given.get(source.name)
        if streams is None:
            return
        all_ += streams
    for name in topic.streams if topic.sources else ():
        if name not in all_:
            who = " and ".join(source.name for source in topic.sources)
            gives = "gives" if len(topic.sources) == 1 else "give"
            message = f"stream={name!r}: {who} {gives} no such stream{_instead(name, all_)}"
            yield _problem(topic, message)


def _nearest(name: str, given: Sequence[str]) -> str:
    return next(iter(get_close_matches(name, given, 1)), "") if name not in given else ""


def _instead(name: str, given: Sequence[str]) -> str:
    nearest = _nearest(name, given)
    # All of them, however many: without an environment a name may stand for another one, and only
    # what is told alike for each of them is a mistake.
    there = f"here is {', '.join(sorted(given))}"
    return f"; did you mean {nearest!r}? T{there}" if nearest else f"; t{there}"


def _problem(definition: SourceDefinition[Any] | Topic[Any], message: str) -> Problem:
    return Problem(definition.place, f"{definition.kind} {definition.name}: {message}")
