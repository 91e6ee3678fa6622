"""``trunkline schemas check``: what a change of schemas breaks, told all at once."""

from __future__ import annotations

import json
import subprocess
import xml.etree.ElementTree as ElementTree
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cluster_world import process_left_as_it_was
from schema_pairs import PAIRS, Pair, enum, record
from trunkline.cli import app
from trunkline.errors import ConfigurationError
from trunkline.schemas.compatibility.exceptions import exceptions_of
from trunkline.schemas.compatibility.project import rules_of
from trunkline.schemas.compatibility.resolve import incompatibilities


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_a_reader_takes_what_was_written_or_it_is_told_why(pair: Pair) -> None:
    found = incompatibilities(json.dumps(pair.reader), json.dumps(pair.writer))
    if pair.why:
        assert len(found) == 1
        assert pair.why in str(found[0])
        assert found[0].mend
    else:
        assert found == []


def test_everything_is_told_at_once() -> None:
    writer = record(("n", "long"), ("s", enum("a", "b")))
    reader = record(("n", "int"), ("s", enum("a")), ("new", "string"))
    found = incompatibilities(json.dumps(reader), json.dumps(writer))
    assert [one.path for one in found] == ["shop.Order.n", "shop.Order.s", "shop.Order.new"]


GOOD = {"type": "shop.Order", "rule": "backward", "reason": "r", "until": date(2026, 12, 1)}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"reason": " "}, "reason says why"),
        ({"until": "2026-12-01"}, "without quotes"),
        ({"until": date(2026, 11, 1)}, "ended on 2026-11-01"),
        ({"rule": "sideways"}, "backward or forward"),
        ({"type": "Order"}, "full name"),
        ({"subject": "x"}, "all of them and no others"),
    ],
)
def test_an_exception_has_a_reason_and_an_end(change: dict[str, Any], told: str) -> None:
    assert exceptions_of([GOOD], "f", date(2026, 12, 1))[0].reason == "r"
    with pytest.raises(ConfigurationError, match=told):
        exceptions_of([{**GOOD, **change}], "f", date(2026, 11, 29))


def test_a_level_is_one_of_the_registrys() -> None:
    assert rules_of("FULL_TRANSITIVE") == ("backward", "forward")
    assert rules_of("NONE") == ()
    with pytest.raises(ConfigurationError, match="'FUL' is no compatibility level"):
        rules_of("FUL")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in git, with one type whose enum then gets a symbol, and a field."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "avro_schemas" / "shop").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("")
    write(tmp_path, record(("id", "string"), ("s", enum("open"))))
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "first"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    write(tmp_path, record(("id", "string"), ("s", enum("open", "paid")), ("note", "string")))
    return tmp_path


def write(project: Path, schema: Any) -> None:
    (project / "avro_schemas" / "shop" / "Order.avsc").write_text(json.dumps(schema))


def check(*arguments: str) -> tuple[int, str]:
    with process_left_as_it_was():
        done = CliRunner().invoke(app, ["schemas", "check", *arguments])
    return done.exit_code, done.output


def test_a_commit_is_compared_with_the_folder(project: Path) -> None:
    code, said = check("--against", "git:HEAD")
    assert code == 2
    assert said.count("shop.Order (") == 1
    assert "backward: what HEAD wrote: shop.Order.note: the reader needs the field" in said
    assert "forward: readers of HEAD: shop.Order.s: paid may be written" in said
    code, said = check("--against", "git:HEAD", "--level", "FORWARD")
    assert "backward" not in said
    write(project, record(("id", "string"), ("s", enum("open")), ("note", "string", "")))
    assert check("--against", "git:HEAD") == (0, "nothing breaks (1 compared)\n")


def test_an_exception_lets_a_finding_through_and_it_is_still_told(project: Path) -> None:
    entry = 'type = "shop.Order"\nrule = "{}"\nreason = "mart is loaded anew"\nuntil = 2999-01-01\n'
    both = "".join(
        f"[[tool.trunkline.schemas.exceptions]]\n{entry.format(rule)}"
        for rule in ("forward", "backward")
    )
    (project / "pyproject.toml").write_text(both)
    code, said = check("--against", "git:HEAD")
    assert code == 0
    assert said.count("(let through: mart is loaded anew)") == 2


def test_pipelines_get_their_own_formats(project: Path) -> None:
    _, text = check("--against", "git:HEAD", "--format", "json")
    assert [one["rule"] for one in json.loads(text)] == ["backward", "forward"]
    _, text = check("--against", "git:HEAD", "--format", "junit")
    assert ElementTree.fromstring(text.encode()).attrib["failures"] == "2"
    _, text = check("--against", "git:HEAD", "--format", "gitlab")
    issues = json.loads(text)
    assert issues[0]["location"]["path"].endswith("shop/Order.avsc")
    assert len({issue["fingerprint"] for issue in issues}) == 2
    _, text = check("--against", "git:HEAD", "--format", "github")
    assert text.startswith("::error file=")
    assert len(text.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--against", "git:nowhere"), "git rev-parse"),
        (("--against", "git:"), "git: and a commit"),
        (("--against", "main"), "git: and a commit"),
        (("--against", "git:--help"), "git rev-parse"),
        (("--against", "git:HEAD", "--format", "xml"), "--format is text, json"),
        (("--against", "git:HEAD", "--level", "SOME"), "no compatibility level"),
    ],
)
def test_a_mistake_is_told(project: Path, arguments: tuple[str, ...], told: str) -> None:
    with process_left_as_it_was():
        done = CliRunner().invoke(app, ["schemas", "check", *arguments])
    assert isinstance(done.exception, ConfigurationError)  # which the program tells in a line
    assert told in str(done.exception)
