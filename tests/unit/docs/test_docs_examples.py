"""Every example in the documentation is right: flows pass the check, code is typed, commands
parse, environments load."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import fastavro
import pytest
import typer
from typer.testing import CliRunner

from cluster_world import process_left_as_it_was
from docs_pages import ROOT, TEXTS, Block, blocks, blocks_of, name, words
from trunkline.access.file import load_policy
from trunkline.cli import app
from trunkline.params import Backbone, Params, environment_file, load_backbone, load_params
from trunkline.schemas import avro
from trunkline.schemas.rules.of_schema import compiled_rules
from trunkline.streams.alerts.settings import load_alert_settings
from trunkline.streams.check.environment import check_environment
from trunkline.streams.check.flows import check
from trunkline.streams.flow.loading import load

PYTHON = blocks("python")
FLOWS = [block for block in PYTHON if "= Flow(" in block.text]
LANGUAGES = {"yaml", "bash", "json", "promql", "python", "sql", "text", "toml", ""}

LENIENT = "# mypy: allow-untyped-defs, no-check-untyped-defs\n"
"""Behind --strict for the block alone: with options of its own, trunkline would be read anew."""

# What a fragment of a flow stands in: its parameters, its types and the flow itself.
AROUND = """
from trunkline import Event, Flow, Params, Record, Secret
from trunkline.schemas.aviation import Flight
from trunkline.schemas.commerce import Order, PickList
class Env(Params):
    shop_dsn: Secret
    warehouse_url: str
    warehouse_token: Secret
    mart_url: Secret
    payments_secret: Secret
    till_folder: str
    erp_url: Secret
    bank_key: Secret
    other_bootstrap: str
    other_password: Secret
    other_registry: str
    crm_url: str
    crm_id: str
    crm_secret: Secret
flow = Flow("documented", Env)
"""


def imported_beside(folder: Path, page: Path) -> None:
    """The OpenAPI documents of a page, as its reader imports them."""
    for block in blocks_of(page):
        if block.title.startswith("openapi/"):
            into = (folder / block.title).with_suffix(".json")
            into.parent.mkdir(exist_ok=True)
            (folder / block.title).write_text(block.text)
            command = ["operations", "import", str(folder / block.title), "--into", str(into)]
            done = CliRunner().invoke(app, command)
            assert done.exit_code == 0, done.output
            for shown in (one for one in blocks_of(page) if "unsupported:" in one.text):
                assert shown.text.splitlines()[:-1] == done.output.splitlines()[:-1]


@pytest.mark.parametrize("page", TEXTS, ids=name)
def test_each_block_says_its_language(page: Path) -> None:
    assert {block.language for block in blocks_of(page)} <= LANGUAGES


@pytest.mark.parametrize("block", FLOWS, ids=str)
def test_a_flow_passes_the_check(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    file = tmp_path / f"documented_{abs(hash(block))}.py"
    file.write_text(block.text)
    imported_beside(tmp_path, block.page)
    assert check(load(str(file))) == []


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What mypy says of all Python blocks, in one run: by block."""
    folder = tmp_path_factory.mktemp("blocks")
    files = {f"block{number}.py": block for number, block in enumerate(PYTHON)}
    for file, block in files.items():
        part = "@flow." in block.text and block not in FLOWS
        (folder / file).write_text(LENIENT + (AROUND if part else "") + block.text)
    imported_beside(folder, ROOT / "docs" / "openapi-import.md")
    for imported in ("orders.py", "picks.py", "erp.py"):  # by another block
        (folder / imported).write_text(titled(imported).text)
    command = [sys.executable, "-m", "mypy", "--strict", *files]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    lines = re.findall(r"^(block\d+\.py):(.* error: .*)$", done.stdout, re.MULTILINE)
    return {
        str(block): [said for where, said in lines if where == file]
        for file, block in files.items()
    }


def titled(title: str) -> Block:
    (block,) = [block for block in PYTHON if block.title == title]
    return block


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_is_typed(block: Block, complaints: dict[str, list[str]]) -> None:
    assert complaints[str(block)] == []


def is_ours(line: str) -> bool:
    """Whether the files of a command are there: those of a reader's project are not."""
    files = [word for word in words(line) if word.endswith(".py")]
    files += [f"environments/{name}.toml" for name in re.findall(r"--env (\w+)", line)]
    return all(list(ROOT.glob(file)) for file in files)


COMMANDS = [(block, line) for block in blocks("bash") for line in block.commands]
TRUNKLINE = [(block, line) for block, line in COMMANDS if line.startswith("trunkline ")]


@pytest.mark.parametrize(("block", "line"), TRUNKLINE, ids=str)
def test_a_command_parses(block: Block, line: str) -> None:
    command = typer.main.get_command(app)
    arguments = words(line)[1:]
    while hasattr(command, "resolve_command"):
        _, command, arguments = command.resolve_command(typer.Context(command), arguments)
    command.make_context("trunkline", arguments)  # raises a UsageError for what is wrong


OFFLINE = re.compile(r"trunkline (check|graph|schemas generate --check)\b.*")
RUN = [(block, line) for block, line in TRUNKLINE if OFFLINE.match(line) and is_ours(line)]


def expanded(word: str) -> list[str]:
    """A word as a shell in ROOT expands it."""
    found = sorted(str(file.relative_to(ROOT)) for file in ROOT.glob(word)) if "*" in word else []
    return found or [word]


@pytest.mark.parametrize(("block", "line"), RUN, ids=str)
def test_a_command_that_needs_no_server_runs(
    block: Block, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    arguments = [one for word in words(line)[1:] for one in expanded(word)]
    with process_left_as_it_was():
        done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, f"{done.output}{done.exception}"


def test_every_line_of_bash_is_a_command_that_we_know() -> None:
    ours = {"trunkline", "make", "curl", "python", "mkdir", ".", ".ci/run"}
    a_readers = {"cd", "export", "git", "mypy", "pytest", "ruff"}
    assert {words(line)[0] for _, line in COMMANDS} <= ours | a_readers


def test_make_knows_the_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    named = {words(line)[1] for _, line in COMMANDS if line.startswith("make ")}
    assert named
    assert named <= set(phony.split())


ACCESS = [b for b in blocks("toml") if "[clients." in b.text or "[issuers." in b.text]
ENVIRONMENTS = [b for b in blocks("toml") if "[tool." not in b.text and b not in ACCESS]


@pytest.mark.parametrize("block", ACCESS, ids=str)
def test_a_file_of_clients_loads(block: Block, tmp_path: Path) -> None:
    (tmp_path / "access.toml").write_text(block.text)
    policy = load_policy(tmp_path / "access.toml")
    assert policy.clients or policy.issuers


@pytest.mark.parametrize("block", ENVIRONMENTS, ids=str)
def test_an_environment_loads(block: Block, tmp_path: Path) -> None:
    (tmp_path / "prod.toml").write_text(block.text)
    tables = environment_file("prod", tmp_path)
    assert isinstance(load_backbone(tables, environ={}), Backbone)
    said = tables.get("params") or tables.get("trunkline")
    assert said or load_alert_settings(tables, environ={}).channels()


def test_the_environment_of_operations_fits_the_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = next(block for block in blocks("toml") if block.page.name == "operations.md")
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments" / "prod.toml").write_text(block.text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    for secret in ("SHOP_DSN", "CRM_TOKEN"):
        monkeypatch.setenv(f"TRUNKLINE_PARAMS_{secret}", "secret")
    flow = load(str(ROOT / "examples" / "orders.py"))
    assert check_environment([flow], "prod") == []
    assert isinstance(load_params(flow.params, environment_file("prod"), flow=flow.name), Params)


def test_the_rules_that_are_shown_are_rules() -> None:
    (block,) = [block for block in blocks("json") if block.title == "Payment.avsc"]
    check = compiled_rules(block.text, avro.parse(block.text))
    assert check is not None
    booked = datetime(2026, 11, 30, tzinfo=UTC)
    paid = {"cents": 100, "fee_cents": 1, "currency": "EUR", "booked_at": booked}
    assert check({**paid, "iban": "DE89370400440532013000"}) == ()
    told = check({**paid, "iban": "DE89 3704", "fee_cents": 101, "currency": "EURO"})
    assert [one.rule for one in told] == ["fee_is_part", "iban_form", "currency_known"]
    assert "DE89" not in str(told)


SCHEMAS = [block for block in blocks("json") if '"fields"' in block.text and not block.title]
"""Those with a title are a reader's own: tests/e2e/test_first_project.py."""


@pytest.mark.parametrize("block", SCHEMAS, ids=str)
def test_a_schema_is_the_one_that_is_shipped(block: Block) -> None:
    schema = json.loads(block.text)
    fastavro.parse_schema(schema)
    file = ROOT / "avro_schemas" / schema["namespace"] / f"{schema['name']}.avsc"
    shipped = json.loads(file.read_text())
    assert [(f["name"], f["type"]) for f in schema["fields"]] == [
        (f["name"], f["type"]) for f in shipped["fields"]
    ]
