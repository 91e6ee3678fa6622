"""What a command runs with: flow, parameters and addresses, from its options, from
``environments/<ENV>.toml``, the process environment, or a local stack that runs here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from trunkline import project
from trunkline.errors import ConfigurationError
from trunkline.local.stack import running
from trunkline.params import Backbone, Params, environment_file, load_backbone, load_params
from trunkline.streams.alerts.settings import AlertSettings, load_alert_settings
from trunkline.streams.check.flows import check, check_together
from trunkline.streams.flow.definition import Flow
from trunkline.streams.flow.loading import load

ENVIRONMENTS = "environments"
HOME = ".trunkline"
"""The folder of the local stack, in the project's."""


def prepare(
    flow: str, env: str, loading: Callable[[str], Flow[Any]] = load
) -> tuple[Flow[Any], Params, Backbone, AlertSettings]:
    """Load a flow, check it, and find what it runs with: parameters, addresses, who is alerted.

    ``env``: "" for the process environment alone. ``loading``: how the flow is loaded. Raises
    ConfigurationError, which names every mistake of the flow, and ParameterError.
    """
    loaded = load_checked(flow, loading)
    file = file_of(env)
    params = load_params(loaded.params, file, flow=loaded.name)
    return loaded, params, backbone_from(file), load_alert_settings(file)


def load_checked(flow: str, loading: Callable[[str], Flow[Any]] = load) -> Flow[Any]:
    """The flow of a file or module. Raises ConfigurationError, which names every mistake."""
    loaded = loading(flow)
    errors = [problem for problem in check(loaded) if not problem.warning]
    if errors:
        raise ConfigurationError("\n".join(map(str, errors)))
    return loaded


def load_together(flows: Sequence[str]) -> list[Flow[Any]]:
    """The flows of these files or modules, which one process serves. Raises ConfigurationError,
    which names the mistakes of a flow, and of all of them together."""
    loaded = [load_checked(flow) for flow in flows]
    if wrong := [problem for problem in check_together(loaded) if not problem.warning]:
        raise ConfigurationError("\n".join(map(str, wrong)))
    return loaded


def flows_of(given: Sequence[str] | None) -> list[str]:
    """The flows that a command is given, each once; without any, those of the project. Raises
    ConfigurationError where there is neither."""
    return list(dict.fromkeys(given or project.flow_files()))


def file_of(env: str | None) -> dict[str, Any]:
    """The tables of the project's ``environments/<env>.toml``; without ``env`` none. Raises
    ConfigurationError."""
    return environment_file(env, project.root() / ENVIRONMENTS) if env else {}


def backbone_of(env: str | None) -> Backbone:
    """The backbone of ``environments/<env>.toml``, else of the process environment or of a local
    stack that runs here. Raises ConfigurationError."""
    return backbone_from(file_of(env))


def backbone_from(file: dict[str, Any]) -> Backbone:
    """The backbone of a parsed environment file, else of the process environment or of a local
    stack that runs here. Raises ConfigurationError."""
    home = project.root() / HOME
    found = {"data": str(home / "data")}
    if local := running(home):
        found |= {"bootstrap": local.bootstrap, "registry": local.registry}
    # What the file says wins over the local stack: `--env prod` beside a stack means prod.
    return load_backbone({**file, "trunkline": {**found, **file.get("trunkline", {})}})
