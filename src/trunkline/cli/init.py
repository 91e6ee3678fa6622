"""``trunkline init``: begin a project of your own."""

from __future__ import annotations

import importlib.util
import re
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from trunkline.cli.scaffold import check_module, occupied, rendered, write_new
from trunkline.errors import ConfigurationError
from trunkline.schemas.generate.command import render

FLOW = "orders"
"""The flow that a new project has."""

_NAME = re.compile(r"(?=.{1,40}\Z)[a-z][a-z0-9]*(-[a-z0-9]+)*")
"""A distribution's name that is one of a Helm release, too."""
_OWN = {FLOW, f"test_{FLOW}", "avro_schemas", "deploy", "environments", "flows", "tests"}
"""Modules and folders that the project has besides."""

_TEMPLATES = {
    ".dockerignore": "dockerignore.txt",
    ".github/workflows/check.yml": "github-check.yml.txt",
    ".github/workflows/deliver.yml": "github-deliver.yml.txt",
    ".gitignore": "gitignore.txt",
    ".gitlab-ci.yml": "gitlab-ci.yml.txt",
    "README.md": "README.md.txt",
    "avro_schemas/shop/Order.avsc": "Order.avsc.txt",
    "avro_schemas/shop/PickList.avsc": "PickList.avsc.txt",
    "deploy/values-prod.yaml": "values-prod.yaml.txt",
    "deploy/values-staging.yaml": "values-staging.yaml.txt",
    "deploy/values.yaml": "values.yaml.txt",
    "environments/local.toml": "local.toml.txt",
    "environments/prod.toml": "prod.toml.txt",
    "environments/staging.toml": "staging.toml.txt",
    "flows.Dockerfile": "flows.Dockerfile",
    f"flows/{FLOW}.py": "orders.py.txt",
    "flows/__PACKAGE__/__init__.py": "package.py.txt",
    "flows/__PACKAGE__/schemas/__init__.py": "schemas.py.txt",
    "pyproject.toml": "pyproject.toml.txt",
    f"tests/test_{FLOW}.py": "test_orders.py.txt",
}


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The project's folder.", show_default=False)
    ] = Path(),
    name: Annotated[
        str,
        typer.Option(
            help="The project's name, as acme-flows; by default the folder's.", show_default=False
        ),
    ] = "",
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave files that are there; write the others.")
    ] = False,
) -> None:
    """Begin a project: a flow, schemas, tests, CI.

    Writes a flow with its schemas and tests, environments, the image, values of the chart and
    workflows for GitHub Actions and GitLab CI. All of it is green as it stands. A file that is
    there is never overwritten: without --keep nothing is written then.
    """
    files = project_files(name or _name_of(folder))
    there = occupied(folder, files)
    if there and not keep:
        listed = "\n".join(f"  {folder / file}" for file in there)
        raise ConfigurationError(
            f"nothing is written, since these are there already:\n{listed}\n"
            "take another folder, or write the others beside them with --keep"
        )
    for path in write_new(folder, {file: files[file] for file in files if file not in there}):
        typer.echo(f"wrote {path}")
    for file in there:
        typer.echo(f"kept {folder / file} as it is")
    if "pyproject.toml" in there:
        table = files["pyproject.toml"].partition("[tool.trunkline]")[2].partition("[tool.ruff]")[0]
        typer.echo(f"say in {folder / 'pyproject.toml'}:\n\n[tool.trunkline]{table}")
    typer.echo(f"now see {folder / 'README.md'}: it begins with `trunkline check`")


def project_files(name: str) -> dict[str, str]:
    """The files of a new project, by their paths in it. Raises ConfigurationError for a name that
    cannot be: of a distribution, of a Helm release, or, with underscores, of a package."""
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} is no name of a project: letters, digits and hyphens, at most 40, as "
            "--name acme-flows"
        )
    package = name.replace("-", "_")
    check_module(package, _OWN, "--name acme-flows")
    if (found := importlib.util.find_spec(package)) is not None and found.origin:
        raise ConfigurationError(
            f"{package!r} is installed here already ({found.origin}), and would hide the "
            f"project's package: name it otherwise, as --name {name}-flows"
        )
    imports = [
        f"from {FLOW} import flow, orders, shop, warehouse",
        f"from {package}.schemas.shop import Order",
    ]
    words = {
        "__IMPORTS__": "\n".join(sorted(imports)),  # as ruff sorts them, whatever the name
        "__NAME__": name,
        "__PACKAGE__": package,
        "__VERSION__": version("trunkline"),
    }
    files = {
        file.replace("__PACKAGE__", package): rendered(f"project/{template}", words)
        for file, template in _TEMPLATES.items()
    }
    return files | _types(files, f"flows/{package}/schemas")


def _types(files: Mapping[str, str], into: str) -> dict[str, str]:
    """The modules that ``trunkline schemas generate`` makes of the project's schemas."""
    with tempfile.TemporaryDirectory() as scratch:
        schemas = {file: text for file, text in files.items() if file.endswith(".avsc")}
        list(write_new(Path(scratch), schemas))
        made = render(Path(scratch) / "avro_schemas")
    return {f"{into}/{file}": text for file, text in made.items()}


def _name_of(folder: Path) -> str:
    """The folder's name in the form of a project's, as far as that is plain."""
    return re.sub(r"[ ._-]+", "-", folder.resolve().name.lower()).strip("-")
