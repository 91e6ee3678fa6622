"""What is wrong with the parameters of flows in one environment, with file and line."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trunkline.errors import ConfigurationError
from trunkline.params import (
    PARAMS_PREFIX,
    UNREAD,
    ParameterError,
    Params,
    environment_tables,
    load_backbone,
    load_params,
    unread_tables,
)
from trunkline.streams.alerts.settings import load_alert_settings
from trunkline.streams.check.built import check_built, check_built_of_stand_ins
from trunkline.streams.flow.definition import Flow
from trunkline.streams.flow.problems import Problem, SourceLocation

ENVIRONMENTS = Path("environments")


def check_environment(
    flows: Sequence[Flow[Any]],
    environment: str | None,
    *,
    root: Path = ENVIRONMENTS,
    environ: Mapping[str, str] = os.environ,
) -> list[Problem]:
    """What is missing, ill-typed or unknown when these flows run in ``environment``, and what is
    wrong with the connectors that their builders make of it.

    Without an environment only the process environment counts. Where it sets no parameter of a
    flow at all, that is a developer's shell, not a place where the flow runs: its connectors are
    built of stand-ins, and what is wrong with them whatever the parameters are is told.
    """
    toml = root / f"{environment}.toml"
    try:
        file = environment_tables(environment, root) if environment else {}
    except ConfigurationError as error:
        return [Problem(SourceLocation(str(toml)), str(error).removeprefix(f"{toml}: "))]
    unread = unread_tables(file)
    file = {name: table for name, table in file.items() if name not in unread}
    found = [
        *(Problem(_in_file(toml, name), UNREAD.format(name)) for name in unread),
        *_of_table(lambda: load_backbone(file, environ=environ), toml),
        *_of_table(lambda: load_alert_settings(file, environ=environ), toml),
    ]
    for flow in flows:
        # One that is set means "here it runs": then the others are missing, and that is the
        # mistake.
        if environment or is_set(flow, environ):
            found += _of_flow(flow, file, toml, environ)
        elif _has_params(flow):
            found += check_built_of_stand_ins(flow, flow.params)
    return found


def is_set(flow: Flow[Any], environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the process environment sets any of the flow's parameters."""
    if not _has_params(flow):
        return False
    names = (PARAMS_PREFIX + name.upper() for name in flow.params.model_fields)
    return any(name in environ for name in names)


def _of_table(load: Callable[[], object], toml: Path) -> Iterator[Problem]:
    try:
        load()
    except ParameterError as error:
        for name, message in error.problems.items():
            yield Problem(_in_file(toml, name), message)


def _of_flow(
    flow: Flow[Any], file: Mapping[str, Any], toml: Path, environ: Mapping[str, str]
) -> Iterator[Problem]:
    if not _has_params(flow):
        return
    try:
        params = load_params(flow.params, file, flow=flow.name, environ=environ)
    except ParameterError as error:
        for name, message in error.problems.items():
            known = name.split(".")[0] in flow.params.model_fields
            place = _in_class(flow.params, name) if known else _in_file(toml, name)
            yield Problem(place, f"flow {flow.name!r}: {message}")
        yield from check_built_of_stand_ins(flow, flow.params)
        return
    yield from check_built(flow, params)


def _has_params(flow: Flow[Any]) -> bool:
    return inspect.isclass(flow.params) and issubclass(flow.params, Params)


def _in_file(path: Path, name: str) -> SourceLocation:
    """The line that sets ``name``, or begins the table; of ``smtp.port`` the one of ``port``, else
    that of ``smtp``."""
    if not path.is_file():
        return SourceLocation(str(path))
    lines = path.read_text().splitlines()
    found = (_line(lines, part, "[].=]") for part in reversed(name.split(".")))
    return SourceLocation(str(path.resolve()), next(filter(None, found), 0))


def _in_class(params: type[Params], name: str) -> SourceLocation:
    """The line of the field, or of the class for an inherited one."""
    lines, first = inspect.getsourcelines(params)
    file = str(inspect.getsourcefile(params))
    return SourceLocation(file, first + max(_line(lines, name, ":") - 1, 0))


def _line(lines: Sequence[str], name: str, then: str) -> int:
    """The number of the first line that sets ``name``; 0 if none does."""
    field = re.compile(rf"\s*\[?{re.escape(name.split('.')[0])}\s*{then}")
    return next((number for number, line in enumerate(lines, 1) if field.match(line)), 0)
