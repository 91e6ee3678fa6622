"""Several flows of one ``trunkline run``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from trunkline.cli.environment import backbone_from, file_of, prepare
from trunkline.errors import ConfigurationError
from trunkline.streams.flow.flow_files import FlowFiles, SameName, repeated
from trunkline.streams.worker.host import Host
from trunkline.streams.worker.hosted_flow import HostedFlow, Prepared
from trunkline.streams.worker.process import Options
from trunkline.streams.worker.shared import Shared, open_share


def hosted(targets: list[str], env: str, options: Options) -> Host:
    """A host of these flows. What is wrong with one holds that one, when it runs; raises
    ConfigurationError for what is wrong with all of them: an environment that is not there, a flow
    that is named twice, two flows of one name. Of these the wrong one might run, and its state is
    the other's."""
    if twice := repeated(targets):
        raise ConfigurationError(f"a flow is named twice: {', '.join(sorted(set(twice)))}")
    files = FlowFiles(targets)
    backbone = backbone_from(file_of(env))
    shared = Shared(backbone, len(targets))
    # The pages are the process's; a flow of its own would ask for a port of its own.
    own = replace(options, port=None, max_open=open_share(len(targets)))
    flows = []
    for target in targets:
        _refuse_same_name(files, target)
        flows.append(HostedFlow(target, _preparing(files, target, env), own, shared))
    return Host(flows, options, shared)


def _refuse_same_name(files: FlowFiles, target: str) -> None:
    try:
        files.load(target)
    except SameName:
        raise
    except ConfigurationError:
        return  # it is told when the flow is tried, and holds no other


def _preparing(files: FlowFiles, target: str, env: str) -> Callable[[], Prepared]:
    return lambda: Prepared(*prepare(target, env, files.load))
