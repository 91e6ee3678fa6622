"""Any legal schema generates a module that Python and its tools accept; any other is refused."""

from __future__ import annotations

import importlib.util
import json
import keyword
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import pytest
from typer.testing import CliRunner

from schemas_known import Known, record
from trunkline.cli.schemas import schemas_app
from trunkline.errors import ConfigurationError
from trunkline.schemas.codec import Codec
from trunkline.schemas.generate.command import generate, render
from trunkline.schemas.types import schema_of

REPOSITORY = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
PRIMITIVES = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"]
BUILTINS = ["str", "bool", "list", "dict", "object", "type", "Exception"]
MODULES = ["datetime", "decimal", "uuid", "Literal", "TypedDict", "annotations", "avro_type", "Any"]
DUNDERS = ["__id", "__name__", "__doc__", "__slots__", "__class__", "_", "__", "_x"]
METHODS = ["items", "keys", "get", "update", "self", "cls", "match", "case", "type", "print"]
TYPES = [*keyword.kwlist, *BUILTINS, *MODULES, *DUNDERS, *METHODS]
NAMES = [*TYPES, *PRIMITIVES]
DATE = {"type": "int", "logicalType": "date"}
MONEY = {
    "type": "fixed",
    "name": "Money",
    "size": 8,
    "logicalType": "decimal",
    "precision": 18,
    "scale": 2,
}
ID = {"type": "fixed", "name": "Id", "size": 16, "logicalType": "uuid"}
NASTY = 'a "quoted" \\ back\\slash \\N{x} \\u0041 """three""" '
NASTY += "\x00\x07\x1b[31m \u202e\u200b\u2028 \xa0ä€😀 %s {x} ''' \\"
ODD_DEFAULTS = {
    "null": None,
    "boolean": True,
    "int": -1,
    "long": 1 << 62,
    "float": 1,
    "double": 1e300,
    "string": NASTY,
    "bytes": '\x00\xff"\\',
}
DEFAULTS = {
    "d/Defaults": record(
        "Defaults",
        **{f"of_{kind}": (kind, default) for kind, default in ODD_DEFAULTS.items()},
        fixed=({"type": "fixed", "name": "F", "size": 2}, "\x00\xff"),
        symbol=({"type": "enum", "name": "E", "symbols": ["a", "b"]}, "b"),
        items=({"type": "array", "items": "string"}, ['"""', "\\"]),
        table=({"type": "map", "values": "long"}, {'"': 1}),
        inner=(record("Inner", x=("long", 3), y=["null", "string"]), {"y": None}),
        maybe=(["null", "string"], None),
        other=(["string", "null"], '"""'),
        day=(DATE, 0),
        id=({"type": "string", "logicalType": "uuid"}, "0f0e0d0c-0b0a-4908-8706-050403020100"),
    )
}
ALL_KINDS: list[Any] = list(PRIMITIVES)
CORPUS: dict[str, Any] = {
    **{f"names/{name}": record(name, x="long", other=["null", name]) for name in TYPES},
    "fields/Fields": record(
        "Fields",
        **{name: ["null", "string", DATE] for name in NAMES},
        Fields=["null", "Fields"],
        last=MONEY,
    ),
    **{f"one/One{n}": record(f"One{n}", **{name: "string"}) for n, name in enumerate(NAMES)},
    "hiding/Item": record("Item", x="long"),
    "hiding/Holder": record("Holder", Item="string", items={"type": "array", "items": "Item"}),
    "docs/Docs": {
        **record("Docs"),
        "doc": NASTY,
        "fields": [
            {"name": "a", "type": "string", "doc": NASTY * 5},
            {"name": "b", "type": {"type": "enum", "name": "E", "symbols": ["x"], "doc": NASTY}},
            {"name": "c", "type": {**MONEY, "doc": '"'}, "doc": "\\"},
            {"name": "d", "type": "Money", "doc": 5},
            {"name": "e", "type": "string", "doc": '""'},
            {"name": "f", "type": "string", "doc": "x" * 300},
        ],
    },
    "logical/Twice": record("Twice", a=MONEY, b="Money", c=ID, d=["null", "Id"]),
    "spaces/Outer": {
        **record("a.b.Outer", one=record("Inner", x="long"), two=record("c.Far", y="a.b.Inner")),
    },
    "spaces/NoSpace": {**record("NoSpace", x="a.b.Outer"), "namespace": ""},
    "long_/Union": record(
        "Union",
        x=[record(f"{'Very' * 9}Long{n}", **{f"f{n}": "long"}) for n in range(5)],
        **{f"{'very' * 9}_long": ["null", "long", "string", "boolean", DATE, MONEY, ID]},
    ),
    "empty/Empty": record("Empty"),
    "empty/Holder": record("Holder", x="Empty", y=["null", "Empty"]),
    "recursive/One": record("One", next=["null", "One"], two={"type": "array", "items": "Two"}),
    "recursive/Two": record("Two", back=["null", "One"], by={"type": "map", "values": "Two"}),
    "kinds/Kinds": record(
        "Kinds",
        everything=ALL_KINDS,
        wrapped={"type": {"type": "string"}},
        listed={"type": "array", "items": {"type": "map", "values": ALL_KINDS}},
        branches=[record("A", x="long"), record("B", y="long"), {"type": "map", "values": "bytes"}],
        java={"type": "string", "avro.java.string": "String"},
        single=["string"],
    ),
    "long_/Enum": {"type": "enum", "name": "Enum", "symbols": [f"S{'x' * n}" for n in range(60)]},
    "long_/Keyword": {"type": "enum", "name": "Keyword", "symbols": ["None", "True", "class"]},
    **DEFAULTS,
}


def deep(levels: int) -> Any:
    type_: Any = "long"
    for _ in range(levels):
        type_ = {"type": "array", "items": type_}
    return type_


CORPUS["deep/Deep"] = record("Deep", x=deep(50))
CORPUS |= {
    f"reused/L{n}": record(f"L{n}", **{f"f{m}": ["null", f"L{n - 1}"] for m in range(8)})
    if n
    else record("L0", x="long")
    for n in range(12)
}
CORPUS["wide/Wide"] = record("Wide", **{f"field_{n}": ["null", "string"] for n in range(1500)})


def folder(root: Path, files: dict[str, Any]) -> Path:
    for name, schema in files.items():
        file = root / "avro" / f"{name}.avsc"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(schema), "utf-8")
    return root / "avro"


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"odd_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The modules of CORPUS."""
    root = tmp_path_factory.mktemp("odd")
    into = root / "generated"
    into.mkdir()
    generate(folder(root, CORPUS), into)
    return into


def test_python_takes_every_module_and_knows_every_type(odd: Path) -> None:
    known = {}
    for path in sorted(odd.glob("*.py")):
        module = imported(path)
        for type_ in vars(module).values():
            if isinstance(type_, type) and type_.__module__ == module.__name__:
                known[path.stem, schema_of(type_).name] = get_type_hints(type_)
    records = {
        (name.partition("/")[0], name.partition("/")[2])
        for name, schema in CORPUS.items()
        if schema["type"] == "record" and name != "spaces/Outer"
    }
    assert records <= known.keys()
    assert list(known["fields", "Fields"]) == [*dict.fromkeys(NAMES), "Fields", "last"]


def test_tools_have_nothing_to_say(odd: Path) -> None:
    shutil.copy(REPOSITORY / "pyproject.toml", odd)
    modules = sorted(str(path) for path in odd.glob("*.py"))
    environment = {**os.environ, "MYPYPATH": str(REPOSITORY / "src")}
    for command in (
        ["ruff", "format", "--check", "--diff"],
        ["ruff", "check"],
        ["mypy", "--strict"],
    ):
        done = subprocess.run(
            [str(BIN / command[0]), *command[1:], *modules],
            cwd=odd,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_fixed_that_is_named_again_is_the_same_python_type(odd: Path) -> None:
    hints = get_type_hints(imported(odd / "logical.py").Twice)
    assert hints["a"] == hints["b"]
    assert hints["d"] == hints["c"] | None


def test_every_default_is_found_by_whoever_reads(odd: Path) -> None:
    cls = imported(odd / "d.py").Defaults
    codec = Codec(Known({}))
    read: Any = codec.decoder(cls)(codec.encoder(cls, "s", register=True)({}))
    assert read["of_string"] == NASTY
    assert read["of_bytes"] == b'\x00\xff"\\'
    assert read["inner"] == {"x": 3, "y": None}
    assert read["items"] == ['"""', "\\"]


def test_the_text_grows_with_the_schemas_and_not_with_their_uses(tmp_path: Path) -> None:
    texts = render(folder(tmp_path, CORPUS))
    assert len(texts["reused.py"]) < 60_000


DEPOSIT = record("tx.Deposit", amount="long")
WITHDRAWAL = record("tx.Withdrawal", amount="long")
ENUMS = [{"type": "enum", "name": n, "symbols": ["a", n]} for n in ("E", "F")]
FIXED = [{"type": "fixed", "name": n, "size": 4} for n in ("E", "F")]
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
LONGS = {"type": "array", "items": "long"}
TEXTS = {"type": "array", "items": "string"}
ILLEGAL: dict[str, tuple[Any, str]] = {
    "records alike": ([DEPOSIT, WITHDRAWAL], "record tx.Deposit and record tx.Withdrawal, whose"),
    "records that defaults make alike": (
        [record("E", x="long"), record("F", x="long", y=("int", 1))],
        "cannot tell",
    ),
    "records of numbers": ([record("E", x="long"), record("F", x="double")], "cannot tell"),
    "records of lists": ([record("E", x=LONGS), record("F", x=TEXTS)], "cannot tell"),
    "records deep inside": (
        {
            "type": "map",
            "values": [
                "null",
                record("E", a=record("G", b="long")),
                record("F", a=record("H", b="long")),
            ],
        },
        "cannot tell",
    ),
    "empty records": ([record("E"), record("F")], "cannot tell"),
    "records within themselves": (
        [record("E", next=["null", "E"]), record("F", next=["null", "F"])],
        "cannot tell",
    ),
    "a record and a map": ([DEPOSIT, {"type": "map", "values": "long"}], "cannot tell"),
    "enums with a common symbol": (ENUMS, "enum E and enum F, whose values Python cannot tell"),
    "an enum and a text": (["string", ENUMS[0]], "cannot tell"),
    "bytes and fixed": (["bytes", FIXED[0]], "cannot tell"),
    "fixed of one size": (FIXED, "cannot tell"),
    "two decimals": (
        [MONEY, {"type": "bytes", "logicalType": "decimal", "precision": 9}],
        "a Decimal and a Decimal, whose values",
    ),
    "two texts": (["string", {"type": "string", "logicalType": "uuid"}], "string 2 times"),
    "two moments": ([MILLIS, {**MILLIS, "logicalType": "timestamp-micros"}], "long 2 times"),
    "the same twice": (["null", "long", "long"], "long 2 times"),
    "two arrays": ([LONGS, TEXTS], "array 2 times"),
    "a union in a union": (["null", ["string"]], ".*union"),
    "no branches": ([], "without branches"),
    "no symbols": ({"type": "enum", "name": "E", "symbols": []}, "no symbols"),
    "a symbol twice": (
        {"type": "enum", "name": "E", "symbols": ["a", "a"]},
        "unique",
    ),
    "a symbol with a hyphen": ({"type": "enum", "name": "E", "symbols": ["a-b"]}, "symbol"),
    "a name with a hyphen": (record("a-b"), "a-b"),
    "a namespace with a hyphen": ({**record("E"), "namespace": "a-b"}, "a-b"),
    "a name of letters that are none in Avro": (record("Größe"), "Größe"),
    "a name of a primitive type": (record("x.long"), "x.long"),
    "a name that begins with a digit": (record("x.1E"), "1E"),
    "a field with a hyphen": (record("E", **{"a-b": "long"}), "a-b"),
    "a field twice": ({**record("E"), "fields": record(a="long")["fields"] * 2}, "a 2 times"),
    "a decimal without precision": ({"type": "bytes", "logicalType": "decimal"}, "precision"),
    "too deep": (deep(100), "nested more than 60 deep"),
    "much too deep": (deep(300), "nested"),
}
BAD_DEFAULTS: dict[str, tuple[Any, Any]] = {
    "a fixed of another size": (FIXED[0], "abc"),
    "no symbol": (ENUMS[0], "z"),
    "beyond a byte": ("bytes", "€"),
    "an item of another type": (LONGS, ["x"]),
    "a record without a field": (record("E", x="long"), {}),
    "a record with another field": (record("E", x=("long", 1)), {"y": 1}),
    "a bool for a number": ("long", True),
    "a text for a number": ("double", "1.5"),
    "null": ("string", None),
    "a value of no branch": (["null", "long"], "x"),
}


@pytest.mark.parametrize(("type_", "message"), ILLEGAL.values(), ids=ILLEGAL)
def test_what_is_illegal_or_ambiguous_is_named(tmp_path: Path, type_: Any, message: str) -> None:
    source = folder(tmp_path, {"d/Thing": record("Thing", a=type_)})
    with pytest.raises(ConfigurationError, match=rf"Thing\.avsc.*({message})"):
        generate(source, tmp_path)
    assert not list(tmp_path.glob("*.py"))


@pytest.mark.parametrize(("type_", "default"), BAD_DEFAULTS.values(), ids=BAD_DEFAULTS)
def test_a_default_that_is_no_value_is_named(tmp_path: Path, type_: Any, default: Any) -> None:
    source = folder(tmp_path, {"d/Thing": record("Thing", a=(type_, default))})
    with pytest.raises(ConfigurationError, match=r"Thing\.avsc.*([dD]efault|latin-1)"):
        generate(source, tmp_path)


def test_two_types_of_one_python_name_are_named(tmp_path: Path) -> None:
    source = folder(tmp_path, {"d/class": record("class"), "d/class_": record("class_")})
    with pytest.raises(ConfigurationError, match="would be one Python name"):
        generate(source, tmp_path)


def test_the_command_fails_with_the_reason(tmp_path: Path) -> None:
    source = folder(tmp_path, {"d/Tx": record("Tx", what=[DEPOSIT, WITHDRAWAL])})
    arguments = ["generate", "--source", str(source), "--into", str(tmp_path)]
    result = CliRunner().invoke(schemas_app, arguments)
    assert result.exit_code != 0
    assert "cannot tell apart" in str(result.exception)


TELLABLE: dict[str, Any] = {
    "fields of their own": [record("E", x="long"), record("F", y="long")],
    "fields of other types": [record("E", x="long"), record("F", x="string")],
    "a symbol of their own": [
        record(n, kind={"type": "enum", "name": f"{n}Kind", "symbols": [n]}, x="long")
        for n in ("E", "F")
    ],
    "a symbol of their own, with a default": [
        record(n, kind=({"type": "enum", "name": f"{n}Kind", "symbols": [n]}, n), x="long")
        for n in ("E", "F")
    ],
    "sizes": [{"type": "fixed", "name": f"F{n}", "size": n} for n in (2, 4)],
    "bytes and a decimal": ["bytes", MONEY],
    "a text and a uuid": ["string", ID],
    "a date and a moment": [DATE, MILLIS],
    "a record and a map of others": [record("E", x="long"), {"type": "map", "values": "string"}],
}


@pytest.mark.parametrize("type_", TELLABLE.values(), ids=TELLABLE)
def test_branches_that_values_tell_apart_are_taken(tmp_path: Path, type_: Any) -> None:
    assert render(folder(tmp_path, {"d/Thing": record("Thing", a=type_)}))
