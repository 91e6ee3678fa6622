"""``trunkline acls``: the rights on Kafka that a flow needs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from trunkline.cli.environment import backbone_of, load_checked
from trunkline.cli.options import named
from trunkline.errors import ConfigurationError
from trunkline.streams.plan.acls import ROLES, WORKER_ROLES, as_commands, as_kafka_user, rights

FORMATS = ("commands", "strimzi", "json")


def acls(
    flow: Annotated[str, typer.Argument(help="A flow's file or module.")],
    role: Annotated[
        str,
        typer.Option(help=f"Of {', '.join(ROLES)}; several with commas. All steps by default."),
    ] = ",".join(WORKER_ROLES),
    principal: Annotated[str, typer.Option(help="The account's name.")] = "trunkline",
    format: Annotated[str, typer.Option(help="commands, strimzi, or json.")] = "commands",
    cluster: Annotated[str, typer.Option(help="The Kafka's name, for strimzi.")] = "kafka",
    env: Annotated[
        str | None,
        typer.Option(
            help="environments/<ENV>.toml: addresses, and whether topics are made.", callback=named
        ),
    ] = None,
) -> None:
    """Print the rights on Kafka that a flow needs.

    Those of its workers, or of its operators, and no others. Connects to nothing. Grant them with
    the commands of Kafka's own kafka-acls.sh, or apply the KafkaUser where Strimzi runs it.
    """
    roles = roles_of(role)
    if format not in FORMATS:
        raise ConfigurationError(f"--format {format}: the formats are {', '.join(FORMATS)}")
    if not principal.strip():
        raise ConfigurationError("--principal is empty: whose rights are they?")
    backbone = backbone_of(env)
    needed = rights(load_checked(flow), roles, create=backbone.create)
    if format == "json":
        typer.echo(json.dumps([asdict(right) for right in needed], indent=2))
    elif format == "strimzi":
        typer.echo(as_kafka_user(needed, principal, cluster), nl=False)
    else:
        typer.echo(as_commands(needed, principal, backbone.bootstrap), nl=False)


def roles_of(text: str) -> tuple[str, ...]:
    """The roles that ``--role`` names. Raises ConfigurationError for one that there is not."""
    roles = tuple(part.strip() for part in text.split(",") if part.strip())
    if unknown := sorted(set(roles) - set(ROLES)):
        raise ConfigurationError(f"--role {', '.join(unknown)}: the roles are {', '.join(ROLES)}")
    return roles
