"""What `trunkline schemas generate` writes, and what it says about wrong schemas."""

from __future__ import annotations

import datetime
import decimal
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import pytest
from typer.testing import CliRunner

from trunkline.cli.schemas import schemas_app
from trunkline.errors import ConfigurationError
from trunkline.schemas import aviation
from trunkline.schemas.generate.command import generate, render, stale
from trunkline.schemas.generate.sources import read_domains
from trunkline.schemas.types import avro_type, has_schema, schema_of

REPOSITORY = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
LONG = "A description that is so long that it does not fit on a line, " * 3


def logical(type_: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": type_, "logicalType": name, **more}


ODD = {
    "shop/Basket": {
        "type": "record",
        "name": "Basket",
        "namespace": "shop",
        "doc": f'"Quoted" at both ends, with """three""" and a \\ backslash. {LONG}"',
        "fields": [
            {"name": "id", "type": logical("string", "uuid"), "doc": f'{LONG} "really"'},
            {"name": "day", "type": logical("int", "date")},
            {"name": "opened", "type": logical("long", "timestamp-micros")},
            {"name": "until", "type": logical("long", "time-micros")},
            {"name": "total", "type": logical("bytes", "decimal", precision=9, scale=2)},
            {"name": "odd", "type": logical("long", "nobody-knows-this")},
            {"name": "items", "type": {"type": "array", "items": "Item"}},
            {"name": "notes", "type": {"type": "map", "values": ["null", "string", "int", "long"]}},
            {"name": "checksum", "type": {"type": "fixed", "name": "Checksum", "size": 4}},
            {"name": "parent", "type": ["null", "Basket"], "default": None},
            {"name": "note", "type": "string", "default": 'it\'s "quoted" \\ and \n broken'},
        ],
    },
    "shop/Item": {
        "type": "record",
        "name": "Item",
        "namespace": "shop",
        "fields": [
            {"name": "colour", "type": {"type": "enum", "name": "Colour", "symbols": ["red"]}},
            {"name": "other", "type": "Colour"},
            {
                "name": "country",
                "type": {
                    "type": "enum",
                    "name": "Country",
                    "symbols": [f"COUNTRY_{number}" for number in range(20)],
                },
            },
        ],
    },
    "shop/Nothing": {"type": "record", "name": "shop.Nothing", "fields": []},
    "shop/Move": {
        "type": "record",
        "name": "Move",
        "doc": "Its fields cannot be those of a class.",
        "fields": [
            {"name": "from", "type": ["null", "string"]},
            {"name": "str", "type": "string"},
            {"name": "datetime", "type": logical("long", "timestamp-millis")},
        ],
    },
    "plain/Hiding": {
        "type": "record",
        "name": "Hiding",
        "fields": [{"name": "str", "type": "long"}, {"name": "other", "type": "string"}],
    },
    "plain/Only": {
        "type": "record",
        "name": "Only",
        "fields": [{"name": "import", "type": "string"}],
    },
    "colours/Colour": {"type": "enum", "name": "Colour", "symbols": ["red", "green"]},
}


def schemas(root: Path, files: dict[str, Any]) -> Path:
    """A folder with these schemas."""
    for name, schema in files.items():
        file = root / "avro" / f"{name}.avsc"
        file.parent.mkdir(parents=True, exist_ok=True)
        text = schema if isinstance(schema, str) else json.dumps(schema, ensure_ascii=False)
        file.write_text(text, "utf-8")
    return root / "avro"


def record(name: str, *fields: Any) -> dict[str, Any]:
    described = [{"name": f"f{i}", "type": type_} for i, type_ in enumerate(fields)]
    return {"type": "record", "name": name, "fields": described}


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"generated_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # get_type_hints looks names up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The modules of ODD."""
    root = tmp_path_factory.mktemp("odd")
    into = root / "generated"
    into.mkdir()
    generate(schemas(root, ODD), into)
    return into


def test_the_repositorys_own_types_are_fresh() -> None:
    source, into = REPOSITORY / "avro_schemas", REPOSITORY / "src/trunkline/schemas"
    assert stale(source, into) == []


def test_avro_types_become_python_types(odd: Path) -> None:
    shop = imported(odd / "shop.py")
    hints = get_type_hints(shop.Basket)
    assert hints == {
        "id": uuid.UUID,
        "day": datetime.date,
        "opened": datetime.datetime,
        "until": datetime.time,
        "total": decimal.Decimal,
        "odd": int,
        "items": list[shop.Item],
        "notes": dict[str, str | int | None],
        "checksum": bytes,
        "parent": shop.Basket | None,
        "note": str,
    }
    move = {"from": str | None, "str": str, "datetime": datetime.datetime}
    assert get_type_hints(shop.Move) == move


def test_a_schema_stands_for_itself(odd: Path) -> None:
    """The registry is given no references: what a type needs is inside of its schema, once."""
    shop = imported(odd / "shop.py")
    schema = schema_of(shop.Basket)
    assert schema.name == "shop.Basket"
    assert schema.json.count('"name":"shop.Colour"') == 1
    assert schema.json.count('"name":"shop.Basket"') == 1
    assert json.loads(schema.json)["fields"][-1]["default"] == 'it\'s "quoted" \\ and \n broken'
    assert has_schema(shop.Item)
    assert has_schema(shop.Nothing)


@pytest.mark.parametrize(
    "command",
    [
        [str(BIN / "ruff"), "format", "--check", "--diff"],
        [str(BIN / "ruff"), "check"],
        [str(BIN / "mypy"), "--strict"],
    ],
    ids=lambda command: " ".join([Path(command[0]).name, *command[1:2]]),
)
def test_tools_have_nothing_to_say(odd: Path, command: list[str]) -> None:
    shutil.copy(REPOSITORY / "pyproject.toml", odd)
    modules = sorted(str(path) for path in odd.glob("*.py"))
    environment = {**os.environ, "MYPYPATH": str(REPOSITORY / "src")}
    done = subprocess.run(
        [*command, *modules], cwd=odd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_field_with_a_default_is_required() -> None:
    """So that reading it type-checks: docs/schemas.md says more."""
    assert "tail_number" in aviation.Flight.__required_keys__
    assert not aviation.Flight.__optional_keys__


def test_the_same_schemas_give_the_same_text(tmp_path: Path) -> None:
    one = render(schemas(tmp_path / "one", ODD))
    other = render(schemas(tmp_path / "other", dict(reversed(ODD.items()))))
    assert one == other


def test_generate_writes_what_changed_and_removes_what_is_gone(tmp_path: Path) -> None:
    source, into = schemas(tmp_path, ODD), tmp_path
    (into / "mine.py").write_text("x = 1\n")
    everything = [into / name for name in ("colours.py", "plain.py", "shop.py")]
    assert generate(source, into) == everything
    assert generate(source, into) == stale(source, into) == []
    schemas(tmp_path, {"plain/Only": record("Only", "long")})
    shutil.rmtree(source / "colours")
    assert stale(source, into) == generate(source, into) == [into / "colours.py", into / "plain.py"]
    assert sorted(path.name for path in into.glob("*.py")) == ["mine.py", "plain.py", "shop.py"]


WRONG = {
    "no json": ({"d/A": "{"}, "A.avsc is not JSON"),
    "a list": ({"d/A": "[]"}, "A.avsc does not describe a record"),
    "another name": ({"d/A": record("B")}, "A.avsc must describe the type A"),
    "no fields": ({"d/A": {"type": "record", "name": "A"}}, "A.avsc .*fields"),
    "no such type": ({"d/A": record("A", "strnig")}, "A.avsc refers to strnig, .* it has A"),
    "a field of no type": (
        {"d/A": {"type": "record", "name": "A", "fields": [{"name": "x"}]}},
        "A.avsc .*type",
    ),
    "a wrong default": (
        {
            "d/A": {
                "type": "record",
                "name": "A",
                "fields": [{"name": "x", "type": "int", "default": "one"}],
            }
        },
        "A.avsc: A: Default value <one>",
    ),
    "defined twice": (
        {"d/A": record("A", record("B")), "d/B": record("B")},
        "B is defined twice: in .*A.avsc and in .*B.avsc",
    ),
    "one Python name": (
        {"d/A": record("A", record("x.B")), "d/B": record("y.B")},
        "x.B and y.B would be one Python name",
    ),
    "an array of nothing": (
        {"d/A": record("A", {"type": "array", "items": "null"})},
        "A.avsc: A has an array of items that take no bytes",
    ),
    "a folder that is no module": ({"a-b/A": record("A")}, "a-b: a domain becomes a Python module"),
    "no schemas": ({}, "is it the right folder"),
}


@pytest.mark.parametrize(("files", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_schema_is_named_and_nothing_is_written(
    tmp_path: Path, files: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        generate(schemas(tmp_path, files), tmp_path)
    assert not list(tmp_path.glob("*.py"))


def test_a_file_of_someone_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("mine = True\n")
    with pytest.raises(ConfigurationError, match=r"shop\.py was not generated"):
        generate(schemas(tmp_path, ODD), tmp_path)
    assert (tmp_path / "shop.py").read_text() == "mine = True\n"


def test_the_command_checks_and_generates(tmp_path: Path) -> None:
    source = schemas(tmp_path, ODD)
    folders = ["--source", str(source), "--into", str(tmp_path)]

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(schemas_app, ["generate", *arguments, *folders])
        return result.exit_code, result.output

    code, output = run("--check")
    assert code == 1
    assert f"{tmp_path / 'shop.py'} is stale" in output
    assert not (tmp_path / "shop.py").exists()
    assert run()[0] == 0
    assert run("--check") == (0, "")


def test_the_command_tells_a_mistake_without_a_traceback(tmp_path: Path) -> None:
    command = [str(BIN / "trunkline"), "schemas", "generate", "--source", "none", "--into", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "none has no <domain>/<Type>.avsc" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_type_without_a_schema_says_what_to_do() -> None:
    assert not has_schema(dict)
    with pytest.raises(ConfigurationError, match=r"builtins\.dict .*trunkline schemas generate"):
        schema_of(dict)


def test_a_wrong_schema_of_a_type_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"the Avro schema of builtins\.dict is wrong"):
        avro_type(dict, '{"type": "record"}')


def test_a_mistake_in_a_rule_is_told_with_line_and_column(tmp_path: Path) -> None:
    """As `schemas check` and `schemas generate` say it, all of them at once."""
    file = tmp_path / "shop" / "Order.avsc"
    file.parent.mkdir()
    file.write_text(
        '{"type": "record", "name": "Order", "namespace": "shop",\n'
        ' "confluent:rules": [\n'
        '  {"name": "a", "expr": "this.id == \\"x\\" && this.ident > 3"},\n'
        '  {"name": "b", "expr": "this.n +1 > 3"}],\n'
        ' "fields": [{"name": "id", "type": "string"}, {"name": "n", "type": "int",\n'
        '  "confluent:rules": [{"name": "c", "expr": "\\ud83d\\ude00"}]}]}'
    )
    with pytest.raises(ConfigurationError) as refused:
        read_domains(tmp_path)
    told = str(refused.value).splitlines()
    assert [line.split(": ")[0] for line in told] == [
        f"{file}:3:51",
        f"{file}:4:33",
        f"{file}:6:46",
    ]
    assert "shop.Order has no field ident; it has id, n" in told[0]
    assert "a rule of shop.Order.n, character 1 of" in told[2]
