"""Parameters that stand in for real ones: a test connects to nothing."""

from __future__ import annotations

from typing import Any, TypeVar

from trunkline.connectors.base import Sink
from trunkline.errors import ConfigurationError
from trunkline.params import Params, Secret
from trunkline.streams.flow.definition import Destination

ParamsT = TypeVar("ParamsT", bound=Params)

URL = "http://stands-in.invalid"
"""What a text is, since most of them are addresses."""

_VALUES: dict[Any, Any] = {str: URL, Secret: Secret(URL), int: 1, float: 1.0, bool: False}


def stand_in(model: type[ParamsT]) -> ParamsT:
    """Parameters of a flow, each with its default or with something of its type."""
    fields = model.model_fields.items()
    required = {name: _VALUES.get(f.annotation) for name, f in fields if f.is_required()}
    return model.model_construct(**required)


def built(destination: Destination[Any, Any], env: Params) -> Sink[Any]:
    """The destination's own sink, which is never opened. Raises ConfigurationError."""
    try:
        sink = destination(env)
    except Exception as error:
        raise ConfigurationError(
            f"{destination.place}: the sink of {destination.name} cannot be built for a test "
            f"({type(error).__name__}: {error}): give parameters that it takes, as "
            f"FlowTest(flow, env=Env(...)); it is never opened"
        ) from error
    destination.configure(sink)
    return sink
