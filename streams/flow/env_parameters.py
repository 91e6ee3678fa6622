"""Which parameters of a function are the flow's own: ``env`` of ``def pick(order, env: Env)``."""

from __future__ import annotations

from typing import Any

from trunkline.params import Params
from trunkline.streams.flow.annotations import further_parameters, is_a
from trunkline.streams.flow.decorated import Definition


def env_parameters(definition: Definition) -> list[str]:
    """The names, behind the first parameter, of those that get the flow's parameters. Raises
    FlowError for one without an annotation."""
    further = further_parameters(definition).items()
    return [name for name, annotation in further if is_env(definition.flow.params, annotation)]


def is_env(params: type, annotation: Any) -> bool:
    """Whether an annotation means the flow's parameters: their class, or one that it derives from,
    as where several flows share a file of routes."""
    return is_a(annotation, (Params,)) and annotation in getattr(params, "__mro__", ())
