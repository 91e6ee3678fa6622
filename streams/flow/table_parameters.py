"""What a route is given behind its event: the table that a parameter means.

The annotation says what is looked up, so one table of a type needs no more. Where several are of
one type (customers by key and customers by country, two topics of one type), the parameter's name
says which.
"""

from __future__ import annotations

from typing import Any, get_args, get_origin

from trunkline.streams.flow.annotations import (
    annotation_error,
    format_annotation,
    further_parameters,
    type_of_topic,
)
from trunkline.streams.flow.decorated import DeclaringFlow
from trunkline.streams.flow.definition import Route
from trunkline.streams.flow.env_parameters import is_env
from trunkline.streams.flow.problems import FlowError
from trunkline.streams.flow.table import Index, Table, TableDefinition


def tables_of(route: Route[Any, Any]) -> dict[str, TableDefinition[Any]]:
    """The tables that a route takes behind its event, by the names of its parameters.

    Raises FlowError for a parameter that is neither a table of the flow nor its parameters, or may
    be several tables.
    """
    found = {}
    for name, annotation in further_parameters(route).items():
        if is_env(route.flow.params, annotation):
            continue
        try:
            found[name] = _table_of(route.flow, name, annotation)
        except LookupError as error:
            raise annotation_error(route, str(error)) from None
    return found


def _table_of(flow: DeclaringFlow, name: str, annotation: Any) -> TableDefinition[Any]:
    """The table of a parameter. Raises LookupError, which says what is wrong and how to mend it."""
    wanted, given = get_origin(annotation) or annotation, get_args(annotation)
    shown = f"its parameter {name}: {format_annotation(annotation)}"
    if wanted not in (Table, Index):
        env = format_annotation(flow.params)
        may = f"it may be {env}, the flow's parameters, or Table[…], Index[…]"
        raise LookupError(f"{shown} is nothing that a route is given: {may}")
    if len(given) != 1:
        raise LookupError(f"{shown} says not what it holds: write {wanted.__name__}[Customer]")
    tables: list[TableDefinition[Any]] = flow.tables
    of_kind = [table for table in tables if bool(table.by) == (wanted is Index)]
    fitting = [table for table in of_kind if _type_or_none(table) is given[0]]
    if len(fitting) == 1:
        return fitting[0]
    named = [table for table in fitting if table.name == name]
    if len(named) == 1:
        return named[0]
    if fitting:
        names = ", ".join(sorted(table.name for table in fitting))
        raise LookupError(
            f"{shown} may be several tables of the flow: call it as one of {names}, or give "
            "flow.table(…) the name="
        )
    raise LookupError(f"{shown} is no table of the flow: {_mend(flow, name, wanted, given[0])}")


def _mend(flow: DeclaringFlow, name: str, wanted: Any, value: Any) -> str:
    """What to write instead, where a table of that name is there, or one of that type."""
    near = [table for table in flow.tables if table.name == name]
    near = near or [table for table in flow.tables if _type_or_none(table) is value]
    for table in near:
        kind = Index if table.by else Table
        found = _type_or_none(table)
        if found is not None:
            return f"{table.name} is {kind.__name__}[{format_annotation(found)}]"
    by = ', by="…"' if wanted is Index else ""
    return f"declare one, as {name} = flow.table(topic{by})"


def _type_or_none(table: TableDefinition[Any]) -> Any:
    """The type of its rows; None if there is none, which the check of the topic has said."""
    try:
        return type_of_topic(table.topic)
    except FlowError:
        return None
