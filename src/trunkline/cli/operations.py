"""``trunkline operations``: what a system's OpenAPI document offers; what a newer one changes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trunkline.cli.options import JsonOption
from trunkline.cli.output import print_json
from trunkline.errors import ConfigurationError
from trunkline.masking import escaped
from trunkline.openapi.api import Api, ApiOperation
from trunkline.openapi.changes import Change, changes
from trunkline.openapi.fetching import fetched, shown
from trunkline.openapi.pinned import origin_of, pinned, select
from trunkline.openapi.types import types_of

operations_app = typer.Typer(
    name="operations",
    help="Operations of a system's OpenAPI document.",
    no_args_is_help=True,
)
OnlyOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ID", help="Of these operations alone; several times.", show_default=False
    ),
]


@operations_app.callback()
def _group() -> None:
    """Operations of a system's OpenAPI document."""


@operations_app.command(name="import")
def import_(
    source: Annotated[str, typer.Argument(help="A file, or an http(s) URL.", metavar="SOURCE")],
    into: Annotated[
        Path, typer.Option(help="The file to pin; types are written beside it, as .py.")
    ] = Path("openapi/api.json"),
    only: OnlyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pin what a document offers, and write Python types for it.

    Each operation is listed as safe, idempotent or unsafe, or as unsupported with its reason and
    line: only those are left out. Exit code 1 if nothing can be imported.
    """
    if into.suffix != ".json":
        raise ConfigurationError(f"--into {into}: what is pinned is JSON: end it with .json")
    body = fetched(source)
    api = Api.of(body)
    origin_of(api)
    chosen = select(api, only or ())
    if not chosen:
        for line in _listed(api, chosen):
            typer.echo(escaped(line))
        raise ConfigurationError(f"{shown(source)} offers nothing that can be imported")
    text = pinned(api, shown(source), body, [one.id for one in chosen])
    made = Api.of(text.encode())
    module = into.with_suffix(".py")
    into.parent.mkdir(parents=True, exist_ok=True)
    into.write_text(text, "utf-8")
    module.write_text(types_of(made, made.operations), "utf-8")
    if as_json:
        print_json(_as_json(api, chosen, into, module))
        return
    for line in _listed(api, chosen):
        typer.echo(escaped(line))
    typer.echo(f"{into} and {module} written")


@operations_app.command()
def diff(
    old: Annotated[str, typer.Argument(help="A file or URL; what is pinned.", metavar="OLD")],
    new: Annotated[
        str | None,
        typer.Argument(
            help="A file or URL; where OLD came from.", metavar="NEW", show_default=False
        ),
    ] = None,
    only: OnlyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a newer document changes, and whether it breaks somebody.

    Without NEW the pinned file is compared with where it came from. Exit code 2 if anything breaks.
    """
    before = Api.of(fetched(old))
    origin = origin_of(before)
    source = new or str(origin.get("source", ""))
    if not source:
        raise ConfigurationError(f"{old} says not where it came from: name what to compare it with")
    now = Api.of(fetched(source))
    chosen = only or ([one.name for one in before.operations] if origin else [])
    found = changes(before, now, chosen)
    if as_json:
        print_json([_change(one) for one in found])
    else:
        for one in found:
            typer.echo(escaped(_words(one)))
        if not found:
            typer.echo("nothing changes")
    raise typer.Exit(2 if any(one.breaking for one in found) else 0)


def _listed(api: Api, chosen: list[ApiOperation]) -> list[str]:
    width = max((len(one.name) for one in chosen), default=0)
    lines = [
        f"{one.name:<{width}}  {one.safety:<10}  {one.method.upper()} {one.path}"
        + "".join(f"\n{'':<{width}}  note: {note}" for note in one.notes)
        for one in chosen
    ]
    lines += [
        f"unsupported: {one.method} {one.path}, line {one.line}: {one.reason}"
        for one in api.unsupported
    ]
    if api.webhooks:
        lines.append(f"{api.webhooks} webhooks, which the system sends: a WebhookSource takes them")
    return [part for line in lines for part in line.split("\n")]


def _as_json(api: Api, chosen: list[ApiOperation], into: Path, module: Path) -> dict[str, Any]:
    imported = [
        {
            "operation": one.name,
            "id": one.id,
            "safety": one.safety,
            "method": one.method.upper(),
            "path": one.path,
            "line": api.line(one),
            "notes": [*one.notes],
        }
        for one in chosen
    ]
    left_out = [
        {"id": one.id, "method": one.method, "path": one.path}
        | {"line": one.line, "reason": one.reason}
        for one in api.unsupported
    ]
    files = {"pinned": str(into), "types": str(module)}
    return {"imported": imported, "unsupported": left_out, "webhooks": api.webhooks, **files}


def _words(one: Change) -> str:
    kind = "breaking" if one.breaking else "compatible"
    return f"{kind}: {one.operation}, line {one.line}: {one.what}"


def _change(one: Change) -> dict[str, Any]:
    said = {"operation": one.operation, "breaking": one.breaking}
    return {**said, "what": one.what, "line": one.line}
