"""A plan as a file, and whether the cluster is still the one that it was made from. Pure.

The file has what is to be done and all that was looked at, so that it can be applied without the
flows, and by whoever reviewed it. It holds names, settings and schemas; no address, no parameter
and no password.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any, cast

from trunkline.errors import ConfigurationError
from trunkline.streams.plan.resources import (
    ACTIONS,
    KINDS,
    Difference,
    Plan,
    PlanAction,
    Resource,
    ResourceState,
    ResourceStates,
    after,
)

FORMAT = 1


def to_json(plan: Plan) -> dict[str, Any]:
    """The plan as JSON can hold it."""
    return {
        "plan": FORMAT,
        "made_by": f"trunkline {version('trunkline')}",
        "environment": plan.environment,
        "cluster": plan.cluster,
        "flows": list(plan.flows),
        "differences": [difference_as_json(one) for one in plan.differences],
        "leftovers": [
            {"kind": kind, "name": name, "holds": holds}
            for (kind, name), holds in plan.leftovers.items()
        ],
        "notes": list(plan.notes),
        "seen": {
            kind: {one.name: dict(state) for one, state in plan.seen.items() if one.kind == kind}
            for kind in KINDS
        },
    }


def difference_as_json(one: Difference) -> dict[str, Any]:
    """A difference as JSON can hold it."""
    return {
        "action": one.action,
        "kind": one.resource.kind,
        "name": one.resource.name,
        "was": dict(one.was),
        "becomes": dict(one.becomes),
        "refused": dict(one.refused),
        "note": one.note,
    }


def from_json(text: str, file: str) -> Plan:
    """The plan that was saved. Raises ConfigurationError for a file that is none."""
    try:
        found = json.loads(text)
        if found["plan"] != FORMAT:
            made_by = str(found["made_by"])[:100]
            raise ConfigurationError(f"{file}: {made_by} made this plan; make it anew")
        return Plan(
            flows=tuple(found["flows"]),
            environment=found["environment"],
            cluster=found["cluster"],
            differences=tuple(_difference(one) for one in found["differences"]),
            seen={
                Resource(kind, name): dict(state)
                for kind in KINDS
                for name, state in found["seen"][kind].items()
            },
            leftovers={_resource(one): one["holds"] for one in found["leftovers"]},
            notes=tuple(found["notes"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ConfigurationError(
            f"{file} is no plan: write `trunkline plan FLOW --env ENV --out {file}` "
            f"({type(error).__name__})"
        ) from None


def _difference(one: Mapping[str, Any]) -> Difference:
    if one["action"] not in ACTIONS:
        raise ValueError(one["action"])
    return Difference(
        _resource(one),
        cast(PlanAction, one["action"]),
        dict(one["was"]),
        dict(one["becomes"]),
        dict(one["refused"]),
        one["note"],
    )


def _resource(one: Mapping[str, Any]) -> Resource:
    if one["kind"] not in KINDS:
        raise ValueError(one["kind"])
    return Resource(one["kind"], one["name"])


def left_to_do(plan: Plan, now: ResourceStates) -> list[Difference]:
    """The differences that are not mended yet, in their order: all of them; or fewer, where an
    ``apply`` of this plan was interrupted. ``now``: what was looked at for the plan, as it is now.

    Raises ConfigurationError that names what is neither as it was nor as the plan makes it.
    """
    by_resource = {one.resource: one for one in plan.differences}
    moved = []
    for resource in {**plan.seen, **by_resource}:
        was, is_now = plan.seen.get(resource), now.get(resource)
        becomes = after(was, by_resource[resource]) if resource in by_resource else was
        if said := _moved(was, becomes, is_now):
            moved.append(f"{resource}: {said}")
    if moved:
        more = f"\n… and {len(moved) - 20} more" if len(moved) > 20 else ""
        raise ConfigurationError(
            "the cluster is no longer what the plan was made from; plan anew:\n"
            + "\n".join(moved[:20])
            + more
        )
    return [one for one in plan.differences if not _mended(one, now.get(one.resource))]


def _mended(one: Difference, state: ResourceState | None) -> bool:
    if one.action == "delete" or state is None:
        return state is None and one.action == "delete"
    return all(state.get(name, value) == value for name, value in one.becomes.items())


def _moved(
    was: ResourceState | None, becomes: ResourceState | None, now: ResourceState | None
) -> str:
    """How a resource is, if it is neither of both; an attribute may be like either of them."""
    if now is None:
        return "" if None in (was, becomes) else "it is not there any more"
    known = [state for state in (was, becomes) if state is not None]
    if not known:
        return "it is there now"
    return ", ".join(_strangers(known, now))


def _strangers(known: list[ResourceState], now: ResourceState) -> Iterator[str]:
    for name in sorted(known[-1].keys() & now.keys()):
        if all(now[name] != state.get(name) for state in known):
            yield f"{name} is {now[name][:200]}"
