"""A flow file becomes its Flow, or an error with the line that a person must look at."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from trunkline.errors import ConfigurationError
from trunkline.streams.flow.loading import load
from trunkline.streams.flow.problems import FlowError

FLOW = """from trunkline import Flow, Params, Retry

flow = Flow("orders", Params)
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a working directory, an import path and modules of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "modules", sys.modules.copy())


def problem(target: str) -> str:
    with pytest.raises(FlowError) as caught:
        load(target)
    assert isinstance(caught.value, ConfigurationError)
    return str(caught.value)


def write(name: str, text: str) -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return name


def test_a_file_by_its_path() -> None:
    flow = load(write("flows/orders.py", FLOW))
    assert flow.name == "orders"
    assert (Path(flow.place.file), flow.place.line) == (Path("flows/orders.py").resolve(), 3)


def test_a_module_by_its_name() -> None:
    write("company/__init__.py", "")
    write("company/orders.py", FLOW)
    assert load("company.orders").name == "orders"


def test_a_file_is_read_anew_each_time() -> None:
    file = write("orders.py", FLOW)
    load(file)
    write(file, FLOW.replace("orders", "orders2"))
    assert load(file).name == "orders2"


def test_files_beside_it_can_be_imported_but_hide_nothing_installed() -> None:
    write("flows/beside.py", 'NAME = "beside"')
    write("flows/json.py", "raise AssertionError('not the standard library')")
    file = write(
        "flows/orders.py",
        "import json\nfrom beside import NAME\nfrom trunkline import Flow, Params\n"
        "flow = Flow(NAME, Params)",
    )
    assert load(file).name == "beside"


def test_the_working_directory_can_be_imported() -> None:
    write("company/__init__.py", 'NAME = "company"')
    file = write(
        "flows/orders.py",
        "from company import NAME\nfrom trunkline import Flow, Params\nflow = Flow(NAME, Params)",
    )
    assert load(file).name == "company"


def test_a_file_named_as_an_installed_package() -> None:
    assert load(write("pydantic.py", FLOW)).name == "orders"


def test_an_imported_flow_does_not_count() -> None:
    write("billing.py", FLOW.replace("orders", "billing"))
    assert load(write("orders.py", FLOW + "\nfrom billing import flow as other\n")).name == "orders"


def test_a_second_name_for_the_flow_does_not_count() -> None:
    assert load(write("orders.py", FLOW + "\nalias = flow\n")).name == "orders"


def test_no_such_file() -> None:
    assert problem("flows/orders.py") == "flows/orders.py: there is no such file"


def test_no_such_module() -> None:
    assert problem("company.orders").startswith("company.orders: there is no such module: give")


def test_a_folder_is_no_flow(tmp_path: Path) -> None:
    assert (
        problem(f"{tmp_path}/")
        == f"{tmp_path}: it is a folder: name the files of its flows, as flows/*.py"
    )


def test_a_syntax_error() -> None:
    assert problem(write("orders.py", "x = 1\ndef f(:\n")) == (
        "orders.py:2: syntax error: invalid syntax"
    )


def test_an_import_error() -> None:
    text = problem(write("orders.py", "\n\nfrom trunkline import Flaw\n"))
    assert text.startswith("orders.py:3: ImportError: cannot import name 'Flaw' from 'trunkline'")


def test_a_module_that_is_not_installed() -> None:
    write("orders.py", "\nimport not_installed\n")
    expected = "orders.py:2: ModuleNotFoundError: No module named 'not_installed'"
    assert problem("orders.py") == expected
    assert problem("orders") == expected


def test_an_error_in_a_file_that_it_imports_names_that_file() -> None:
    write("beside.py", "\n\n1 / 0\n")
    text = problem(write("orders.py", "import beside\n"))
    assert text == "beside.py:3: ZeroDivisionError: division by zero"


def test_a_syntax_error_in_a_file_that_it_imports_names_that_file() -> None:
    write("beside.py", "\nx = = 1\n")
    assert problem(write("orders.py", "import beside\n")).startswith("beside.py:2: syntax error")


def test_a_program_that_exits() -> None:
    assert problem(write("orders.py", "\nraise SystemExit(3)\n")) == "orders.py:2: SystemExit: 3"


def test_an_error_of_ours_is_shown_at_the_line_of_the_flow_file() -> None:
    text = problem(write("orders.py", FLOW + '\nretry = Retry("1m", "10s")\n'))
    assert text == (
        "orders.py:5: Retry('1m', '10s'): each delay must be longer than the one before"
    )


def test_an_error_deep_in_a_library_is_shown_at_the_line_of_the_flow_file() -> None:
    text = problem(
        write("orders.py", FLOW + "\nclass Env(Params):\n    a: 'Nothing'\n\nEnv(a=1)\n")
    )
    assert text.startswith("orders.py:8: PydanticUserError: `Env` is not fully defined")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class A: ...\nflow.source(A)", "orders.py:5: <class"),
        ("@flow.source\n@flow.source\ndef a(env): ...", "<source orders.a> has a decorator"),
    ],
)
def test_what_cannot_be_decorated(text: str, message: str) -> None:
    found = problem(write("orders.py", f"{FLOW}{text}"))
    assert found.startswith("orders.py:")
    assert message in found


def test_no_flow_in_it() -> None:
    assert problem(write("orders.py", "x = 1")).startswith("orders.py: there is no flow in it")


def test_two_flows_in_it() -> None:
    text = problem(write("orders.py", FLOW + 'more = Flow("more", Params)\n'))
    assert text == "orders.py:3: a second flow, 'more' in line 4: give each a file of its own"
