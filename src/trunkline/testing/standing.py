"""Parameters that stand in for real ones: a test connects to nothing."""

from __future__ import annotations

from itertools import chain
from typing import Any, Protocol, TypeVar

from trunkline.connectors.base import PushSource, Sink
from trunkline.errors import ConfigurationError
from trunkline.params import Params, Secret
from trunkline.streams.check.stand_ins import stand_ins
from trunkline.streams.flow.definition import Destination
from trunkline.streams.flow.problems import SourceLocation
from trunkline.streams.flow.source import SourceDefinition

ParamsT = TypeVar("ParamsT", bound=Params)
MadeT = TypeVar("MadeT", covariant=True)


class _Buildable(Protocol[MadeT]):
    """What a flow declares with a builder."""

    @property
    def place(self) -> SourceLocation: ...

    def __call__(self, env: Any, /) -> MadeT: ...


URL = "http://stands-in.invalid"
"""What a text is, since most of them are addresses."""

_VALUES: dict[Any, Any] = {str: URL, Secret: Secret(URL), int: 1, float: 1.0, bool: False}


def stand_in(model: type[ParamsT]) -> ParamsT:
    """Parameters of a flow, each with its default or with something of its type."""
    fields = model.model_fields.items()
    required = {name: _VALUES.get(f.annotation) for name, f in fields if f.is_required()}
    return model.model_construct(**required)


def built(destination: Destination[Any, Any], env: Params | None, stands_in: Params) -> Sink[Any]:
    """The destination's own sink, which is never opened. Raises ConfigurationError.

    Without ``env`` each builder may have other parameters: if it makes nothing of ``stands_in``,
    as SqlSink of a URL that is no database's, the forms that a check knows are tried."""
    sink = _made(destination, f"the sink of {destination.name}", env, stands_in)
    destination.configure(sink)
    return sink


def refuses(source: SourceDefinition[Any], env: Params | None, stands_in: Params) -> bool:
    """Whether the source refuses what the flow cannot read (``PushSource.refuses``). Raises
    ConfigurationError if it cannot be built to be asked."""
    made = _made(source, f"the source {source.name}", env, stands_in)
    return isinstance(made, PushSource) and made.refuses


def _made(definition: _Buildable[MadeT], what: str, env: Params | None, stands_in: Params) -> MadeT:
    failures: list[Exception] = []
    for parameters in [env] if env is not None else chain([stands_in], stand_ins(type(stands_in))):
        try:
            return definition(parameters)
        except Exception as error:  # noqa: BLE001 - a builder's, of any kind
            failures.append(error)
    first = failures[0]
    raise ConfigurationError(
        f"{definition.place}: {what} cannot be built for a test "
        f"({type(first).__name__}: {first}): give parameters that it takes, as "
        f"FlowTest(flow, env=Env(...)); it is never opened"
    ) from first
