"""What a function of a flow is given besides its first argument: by the type that it names."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, get_args, get_origin

from trunkline.streams.flow.annotations import (
    annotation_error,
    format_annotation,
    further_parameters,
    returned,
)
from trunkline.streams.flow.enrichment import ClientDefinition, Enrichment
from trunkline.streams.flow.env_parameters import is_env


def type_of_client(client: ClientDefinition[Any, Any]) -> Any:
    """The type of what a client's function yields. Raises FlowError, which names the place."""
    annotation = returned(client)
    if get_origin(annotation) not in (AsyncIterator, AsyncGenerator):
        raise annotation_error(
            client,
            f"returns {format_annotation(annotation)}: write async def, yield the client, and "
            "annotate -> AsyncIterator[…] with its type",
        )
    return get_args(annotation)[0]


def clients_of(enrichment: Enrichment[Any, Any, Any, Any]) -> dict[str, ClientDefinition[Any, Any]]:
    """The client of each parameter that gets one. Raises FlowError for a parameter that is neither
    the flow's parameters nor one of its clients."""
    flow = enrichment.flow
    known = {type_of_client(client): client for client in flow.clients}
    found = {}
    for name, annotation in further_parameters(enrichment).items():
        if annotation in known:
            found[name] = known[annotation]
        elif not is_env(flow.params, annotation):
            there = ", ".join(sorted(format_annotation(kind) for kind in (flow.params, *known)))
            raise annotation_error(
                enrichment,
                f"nothing is known for its parameter {name}: {format_annotation(annotation)}: "
                f"there are {there}; declare a @flow.client that yields it",
            )
    return found
