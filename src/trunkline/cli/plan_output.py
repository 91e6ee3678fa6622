"""How a plan is shown: a line for what is new or goes, and for what changes each attribute."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from trunkline.masking import escaped
from trunkline.streams.plan.resources import Difference, Plan, PlanAction, ResourceState
from trunkline.streams.plan.saved import difference_as_json

_MARKS: dict[PlanAction, str] = {"create": "+", "alter": "~", "delete": "-"}
_WORDS: dict[PlanAction, str] = {"create": "to create", "alter": "to change", "delete": "to remove"}


def plan_in_words(plan: Plan) -> str:
    """The plan for a person: every difference, what is left over, and how many of each."""
    lines = [line for one in plan.differences for line in difference_in_words(one)]
    if plan.leftovers:
        lines += ["", "no flow of these has it any more; --prune removes it:"]
        lines += [
            f"  {one}" + (f": holds {holds}" if holds else "")
            for one, holds in plan.leftovers.items()
        ]
    if plan.notes:
        lines += ["", "to be done by hand:", *(f"  {note}" for note in plan.notes)]
    return escaped("\n".join([*lines, "", counts_in_words(plan)]).strip("\n"), keep="\n")


def counts_in_words(plan: Plan) -> str:
    """How much a plan does, as "2 to create, 1 to change"."""
    counts = Counter(one.action for one in plan.differences)
    said = [f"{counts[action]} {words}" for action, words in _WORDS.items() if counts[action]]
    if plan.refusals:
        said.append(f"{len(plan.refusals)} refused")
    return ", ".join(said) or "nothing to do: the cluster has what the flows need"


def difference_in_words(one: Difference) -> Iterator[str]:
    """A difference, in lines."""
    mark, more = _MARKS[one.action], f"  ({one.note})" if one.note else ""
    if one.resource.kind == "subject":
        yield f"{mark} {one.resource}{_schema_in_words(one.was, one.becomes)}{more}"
    elif one.action == "create":
        said = ", ".join(f"{name} {value}" for name, value in one.becomes.items())
        yield f"{mark} {one.resource}  {said}{more}"
    else:
        yield f"{mark} {one.resource}{more}"
        for name, value in one.becomes.items():
            yield f"      {name}  {one.was.get(name, '')} → {value}"
    for name, why in one.refused.items():
        yield f"      refused: {why}  (--force {name})"


def _schema_in_words(was: ResourceState, becomes: ResourceState) -> str:
    """``: commerce.Order, + note, - status``."""
    old, new = _fields(was.get("schema", "")), _fields(becomes.get("schema", ""))
    name = _name(becomes.get("schema") or was.get("schema", ""))
    if not (was and becomes):
        return f": {name}"
    said = [f"+ {field}" for field in new.keys() - old.keys()]
    said += [f"- {field}" for field in old.keys() - new.keys()]
    said += [f"~ {field}" for field in old.keys() & new.keys() if old[field] != new[field]]
    return f": {name}, " + (", ".join(sorted(said)) or "a new version")


def _fields(schema: str) -> dict[str, Any]:
    found = json.loads(schema) if schema else {}
    if not isinstance(found, dict):
        return {}
    return {one["name"]: one for one in found.get("fields", []) if isinstance(one, Mapping)}


def _name(schema: str) -> str:
    found = json.loads(schema) if schema else {}
    if not isinstance(found, dict) or "name" not in found:
        return "a schema"
    space = found.get("namespace")
    return f"{space}.{found['name']}" if space else str(found["name"])


def plan_as_json(plan: Plan) -> dict[str, Any]:
    """What ``plan --json`` says."""
    return {
        "environment": plan.environment,
        "cluster": plan.cluster,
        "flows": list(plan.flows),
        "differences": [difference_as_json(one) for one in plan.differences],
        "leftovers": [
            {"kind": one.kind, "name": one.name, "holds": holds}
            for one, holds in plan.leftovers.items()
        ],
        "notes": list(plan.notes),
        "refused": plan.refusals,
    }
