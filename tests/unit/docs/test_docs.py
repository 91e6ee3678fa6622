"""What there is, is documented; what the documentation names, is there."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import trunkline.connectors.contract
from docs_pages import PAGES, ROOT, TEXTS, blocks_of, name, prose
from trunkline import headers
from trunkline.cli import app
from trunkline.cli.init import project_files
from trunkline.connectors.debezium import DebeziumSource
from trunkline.connectors.files import FileSink
from trunkline.connectors.http import HttpPolling, HttpSink
from trunkline.connectors.kafka import KafkaSink, KafkaSource
from trunkline.connectors.mysql import MySqlCDC
from trunkline.connectors.outbox import Outbox
from trunkline.connectors.postgres import PostgresCDC
from trunkline.connectors.sql import SqlPolling, SqlSink
from trunkline.connectors.webhook import WebhookSource
from trunkline.event import Event, Record
from trunkline.gateway.metrics import GatewayMetrics
from trunkline.headers import CONTENT_TYPE
from trunkline.params import Backbone, Secret
from trunkline.scaler.metrics import families as scaler_families
from trunkline.streams.metrics import Metrics

DOCS = ROOT / "docs"
CONCEPTS, OPERATIONS = TEXTS[DOCS / "concepts.md"], TEXTS[DOCS / "operations.md"]
HEADERS = [DOCS / "concepts.md", DOCS / "delivery.md", DOCS / "replay.md"]
CONNECTORS = {
    "debezium": DebeziumSource,
    "file-sink": FileSink,
    "http": HttpSink,
    "kafka": KafkaSource,
    "kafka-sink": KafkaSink,
    "http-polling": HttpPolling,
    "mysql": MySqlCDC,
    "outbox": Outbox,
    "postgres": PostgresCDC,
    "sql": SqlSink,
    "sql-polling": SqlPolling,
    "webhook": WebhookSource,
}

LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s]*)(#[^)\s]*)?\)")
PATH = re.compile(
    r"`((?:avro_schemas|benchmarks|connectors|docs|examples|src|streams|tests|\.ci)/[^`\s]*)`"
)


# The command line


def commands(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every command with its name, as ``schemas generate``."""
    for part, command in group.commands.items():
        full = f"{path} {part}".strip()
        yield from commands(command, full) if hasattr(command, "commands") else [(full, command)]


COMMANDS = dict(commands(typer.main.get_command(app)))


def options(command: Any) -> list[str]:
    return [opt for param in command.params for opt in param.opts if opt.startswith("--")]


@pytest.mark.parametrize("path", COMMANDS)
def test_a_command_and_its_options_have_help(path: str) -> None:
    assert COMMANDS[path].help
    silent = [param.opts for param in COMMANDS[path].params if not getattr(param, "help", "")]
    assert not silent


def test_no_summary_is_cut_in_the_middle() -> None:
    """In a terminal of 80 columns."""
    for group in {"", *(path.split()[0] for path in COMMANDS if " " in path)}:
        arguments = [*group.split(), "--help"]
        told = CliRunner().invoke(app, arguments, env={"COLUMNS": "80"}, color=False).output
        assert "..." not in told.partition("Commands:")[2], told


@pytest.mark.parametrize("path", COMMANDS)
def test_a_command_and_its_options_are_documented(path: str) -> None:
    pages = [text for text in TEXTS.values() if f"trunkline {path}" in text]
    assert pages, f"no page shows `trunkline {path}`"
    missing = [option for option in options(COMMANDS[path]) if not shown(option, pages)]
    assert not missing, f"no page that shows `trunkline {path}` names {missing}"


def shown(option: str, pages: list[str]) -> bool:
    whole = re.compile(rf"(?<![\w-]){option}(?![\w-])")
    return any(whole.search(page) for page in pages)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_in_the_text_exist(page: Path) -> None:
    groups = "|".join({path.split()[0] for path in COMMANDS if " " in path})
    found = re.findall(rf"`trunkline ((?:{groups}) [a-z]+|[a-z]+)\b", prose(page))
    assert set(found) <= {*COMMANDS, *groups.split("|")}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_make_targets_exist(page: Path) -> None:
    named = re.findall(r"`make ([a-z]+)", prose(page))
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(named) <= set(targets)


# Python


def first_column(text: str) -> set[str]:
    """The names in the first column of the tables of a text."""
    return set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))


@pytest.mark.parametrize("page", CONNECTORS)
def test_each_argument_of_a_connector_is_in_its_table(page: str) -> None:
    text = TEXTS[DOCS / "connectors" / f"{page}.md"]
    table = text.split("| argument |")[1].split("\n\n")[0]
    assert first_column(table) == set(inspect.signature(CONNECTORS[page]).parameters)


@pytest.mark.parametrize("page", CONNECTORS)
def test_the_defaults_in_the_table_are_right(page: str) -> None:
    text = TEXTS[DOCS / "connectors" / f"{page}.md"]
    parameters = inspect.signature(CONNECTORS[page]).parameters
    written = re.findall(r"^\| `(\w+)` \| (`\"[^`]*`|`[A-Z]\w+`|[\d,]+) \|", text, re.MULTILINE)
    assert written
    for argument, default in written:
        value = ast.literal_eval(default.strip("`").replace(",", ""))
        assert value == parameters[argument].default, argument


@pytest.mark.parametrize("kind", [Event, Record])
def test_each_attribute_of_events_and_records_is_documented(kind: type) -> None:
    section = TEXTS[DOCS / "flows.md"].split("## `Event[T]` and `Record`")[1].split("\n## ")[0]
    about = section.split("A `Record` is")[kind is Record]
    public = {attribute for attribute in dir(kind) if not attribute.startswith("_")}
    assert public
    assert {attribute for attribute in public if f"`{attribute}" not in about} == set()


@pytest.mark.parametrize("member", trunkline.connectors.contract.__all__)
def test_the_acceptance_suite_is_documented(member: str) -> None:
    assert any(member in text for text in TEXTS.values())


@pytest.mark.parametrize("key", Backbone.model_fields)
def test_each_key_of_the_backbone_is_documented_with_its_default(key: str) -> None:
    (row,) = [row for row in OPERATIONS.splitlines() if row.startswith(f"| `{key}` |")]
    _, _, variable, default, *_ = (cell.strip() for cell in row.split("|"))
    value = Backbone.model_fields[key].default
    others = {"kafka": "`TRUNKLINE_KAFKA__<KEY>`", "topics": ""}
    assert variable == others.get(key, f"`TRUNKLINE_{key.upper()}`")
    assert default.strip("`").lower() == ("" if value in (Secret(""), {}) else str(value).lower())


# Metrics and headers


def exported(metrics: Metrics | GatewayMetrics | None = None) -> set[str]:
    """The metrics' names as Prometheus sees them: a worker's, if no others."""
    families = (metrics or Metrics()).registry.collect()
    return {f.name + ("_total" if f.type == "counter" else "") for f in families}


def test_the_metrics_are_documented() -> None:
    scalers = {family.name for family in scaler_families()}
    page, labels = TEXTS[DOCS / "metrics.md"].split("## Labels")
    assert first_column(page) - {"metric"} == exported() | exported(GatewayMetrics()) | scalers
    assert labels.count("\n| `") > 10
    gateway = first_column(TEXTS[DOCS / "gateway.md"])
    assert {name for name in gateway if name.startswith("trunkline_")} == exported(GatewayMetrics())
    scaler = first_column(TEXTS[DOCS / "scaling.md"])
    told = {family.name for family in scaler_families()}
    assert {name for name in scaler if name.startswith("trunkline_")} == told


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_metrics_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"\btrunkline_[a-z_]+\b", TEXTS[page])
    scaler = {family.name for family in scaler_families()}
    assert set(named) <= exported() | exported(GatewayMetrics()) | scaler


def test_the_headers_are_documented() -> None:
    used = {value for name, value in vars(headers).items() if name.isupper()} - {CONTENT_TYPE}
    assert len(used) > 20
    tables = set().union(*(first_column(text) for page, text in TEXTS.items() if page in HEADERS))
    assert tables >= used
    written = {header for header in tables if header.startswith(("ce_", "tl_"))}
    assert written <= used, "these headers are written and read by nobody"


# Links, files, tests


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for _, target, anchor in LINK.findall(prose(page)):
        if target.startswith(("https://", "http://")):
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{target} is not there"
        if anchor:
            assert anchor[1:] in anchors(path), f"{target}{anchor} is no heading"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_are_named_exist(page: Path) -> None:
    readers = project_files("acme-flows") if page.name in ("ci.md", "first-project.md") else {}
    for path in PATH.findall(prose(page)):
        if "<" not in path and "…" not in path:
            there = list(ROOT.glob(path.rstrip("/"))) or [f for f in readers if f.startswith(path)]
            assert there, f"{path} is not there"


def named_tests(text: str) -> list[tuple[str, str]]:
    """Tests that a text links to: name and file."""
    links = [(shown.strip("`"), target) for shown, target, _ in LINK.findall(text)]
    return [(test, file) for test, file in links if test.startswith(("test_", "Test"))]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_tests_that_are_named_exist(page: Path) -> None:
    for test, file in named_tests(prose(page)):
        defined = rf"^\s*(?:(?:async )?def|class) {test}\b|^{test} ="
        assert re.search(defined, (page.parent / file).read_text(), re.MULTILINE), test


def test_each_guarantee_has_a_test_that_proves_it() -> None:
    section = TEXTS[ROOT / "README.md"].split("## Guarantees")[1].split("\n## ")[0]
    rows = [row for row in section.splitlines() if row.startswith("| ")][1:]
    assert len(rows) >= 5
    for row in rows:
        assert named_tests(row), row


@pytest.mark.parametrize("page", ["README.md", "docs/flows.md"])
def test_the_flow_that_is_shown_is_the_example(page: str) -> None:
    flow = next(block for block in blocks_of(ROOT / page) if block.language == "python")
    assert flow.text == (ROOT / "examples" / "orders.py").read_text()


def test_the_readme_leads_to_every_page() -> None:
    linked = {target for _, target, _ in LINK.findall(TEXTS[ROOT / "README.md"])}
    assert {name(page) for page in PAGES} - {"README.md"} <= linked


def test_the_readme_has_the_markers_of_the_benchmark_table() -> None:
    text = TEXTS[ROOT / "README.md"]
    assert text.index("<!-- bench:start -->") < text.index("<!-- bench:end -->")
