"""``trunkline operations``: what is written, what is said, and which changes break somebody."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from openapi_erp import ERP_YAML
from trunkline.cli import app
from trunkline.openapi.api import Api
from trunkline.openapi.changes import changes


def run(*command: str) -> Result:
    return CliRunner().invoke(app, ["operations", *command])


@pytest.fixture
def document(tmp_path: Path) -> Path:
    (tmp_path / "erp.yaml").write_text(ERP_YAML)
    return tmp_path / "erp.yaml"


def test_a_document_is_pinned_and_listed_and_its_types_are_strict(document: Path) -> None:
    into = document.parent / "pins" / "erp.json"
    done = run("import", str(document), "--into", str(into))
    assert done.exit_code == 0, done.output
    assert "getOrder          safe        GET /orders/{orderId}" in done.output
    assert "unsupported: POST /files, line 43: its body is multipart/form-data" in done.output
    again = document.parent / "again.json"
    assert run("import", str(into), "--into", str(again)).exit_code == 0
    assert again.read_bytes() == into.read_bytes()
    types = into.with_suffix(".py").read_text()
    assert again.with_suffix(".py").read_text() == types
    use = 'wanted: CreateCreditNote = {"orderId": 7, "body": {"amount": 1, "lines": []}}\n'
    into.with_suffix(".py").write_text(types + use)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "erp.py"]
    checked = subprocess.run(command, cwd=into.parent, capture_output=True, text=True, check=False)
    assert checked.stdout.count("error:") == 1, checked.stdout
    assert '(expression has type "int", TypedDict item "orderId" has type "str")' in checked.stdout


def test_programs_get_json_and_only_what_they_ask_for(document: Path) -> None:
    into = str(document.parent / "erp.json")
    done = run("import", str(document), "--into", into, "--only", "getOrder", "--json")
    said = json.loads(done.stdout)
    assert [one["operation"] for one in said["imported"]] == ["getOrder"]
    assert [one["line"] for one in said["unsupported"]] == [43]


def test_what_is_pinned_is_compared_with_where_it_came_from(document: Path) -> None:
    into = str(document.parent / "erp.json")
    run("import", str(document), "--into", into)
    assert run("diff", into).output == "nothing changes\n"
    document.write_text(ERP_YAML.replace("maxLength: 20", "maxLength: 9"))
    done = run("diff", into)
    assert done.exit_code == 2
    assert done.output == "breaking: getOrder, line 6: orderId: maxLength was 20, and is 9\n"
    (one,) = json.loads(run("diff", into, "--json").stdout)
    assert one["breaking"] is True


@pytest.mark.parametrize("source", ["no.yaml", "http://127.0.0.1:9/x.yaml"])
def test_a_source_that_cannot_be_had_is_told(source: str) -> None:
    done = run("import", source)
    assert done.exit_code == 1
    assert "cannot be" in str(done.exception)


CHANGES = {
    ("required: [sku]", "required: [sku, quantity]"): (True, "quantity must be there now"),
    ("sku: {type: string}", "sku: {type: [string, integer]}"): (False, "sku may be integer, too"),
    ("enum: [open, paid]", "enum: [open, paid, late]"): (True, 'has the value "late", too'),
    ("enum: [lines, customer]", "enum: [lines]"): (True, 'has the value "customer" no more'),
    ("id: {type: string}, ", ""): (True, "answer 200.id is no more"),
    ("status: {enum", "extra: {}, status: {enum"): (False, "answer 200.extra is new"),
    ("exclusiveMinimum: 0", "minimum: 0"): (True, "minimum was None, and is 0"),
    ("maxLength: 10", "maxLength: 11"): (False, "maxLength was 10, and is 11"),
    ("operationId: search", "operationId: find"): (True, "its name is now find"),
    ("  /search:\n    post:", "  /search:\n    put:"): (True, "was unsafe, and is idempotent"),
    ("application/merge-patch+json", "text/xml"): (True, "can be imported no more: its body"),
    ("    post:\n      operationId: search", "    x-y:\n      a: b"): (True, "is no more"),
    ("multipart/form-data", "application/json"): (False, "is new"),
    ("'204': {description: done}", "'202': {description: done}"): (True, "its answer 204 is no"),
    ("name: X-Region, in: header,", "name: X-Region, in: header, required: true,"): (
        True,
        "X-Region must be there now",
    ),
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda pair: pair[1].strip()[:40])
def test_a_change_is_classed_and_told_in_words(change: tuple[str, str]) -> None:
    assert change[0] in ERP_YAML
    old, new = (Api.of(t.encode()) for t in (ERP_YAML, ERP_YAML.replace(*change)))
    found = changes(old, new)
    breaking, what = CHANGES[change]
    said = [one for one in found if what in one.what]
    assert said, found
    assert {one.breaking for one in said} == {breaking}
    assert all(one.line > 1 for one in found)
    assert not changes(new, new)
