"""Flows that share a process have their own files and helpers, and never one another's."""

from __future__ import annotations

import builtins
import sys
import threading
from pathlib import Path

import pytest

from trunkline.streams.flow.flow_files import FlowFiles, SameName, repeated
from trunkline.streams.flow.problems import FlowError

FLOW = """from trunkline import Flow, Params

flow = Flow("{name}", Params)


class Row:
    owner = "{name}"
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a working directory, an import path and modules of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "meta_path", sys.meta_path[:])
    monkeypatch.setattr(sys, "modules", sys.modules.copy())


def write(name: str, text: str) -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return name


def test_files_of_one_name_and_classes_of_one_name_stay_apart() -> None:
    files = FlowFiles(
        [write(f"{where}/orders.py", FLOW.format(name=where)) for where in ("eu", "us")]
    )
    for where in ("eu", "us", "eu"):  # each load runs the file anew
        flow = files.load(f"{where}/orders.py")
        assert flow.name == where
        module = next(m for m in sys.modules.values() if getattr(m, "flow", None) is flow)
        assert module.__file__ == str(Path(f"{where}/orders.py").resolve())
        assert module.Row.owner == where


def test_each_flow_imports_what_is_beside_it() -> None:
    for where in ("eu", "us"):
        write(f"{where}/{where}_mapping.py", f"NAME = '{where}'")
        flow = f"from {where}_mapping import NAME\n" + FLOW.replace('"{name}"', "NAME")
        write(f"{where}/{where}.py", flow)
    files = FlowFiles(["eu/eu.py", "us/us.py"])
    assert [files.load(name).name for name in ("eu/eu.py", "us/us.py")] == ["eu", "us"]


def test_a_file_that_hangs_lets_the_others_load(caplog: pytest.LogCaptureFixture) -> None:
    """One that asks a server which does not answer held all flows of the process."""
    hangs = "import builtins\nbuiltins.reached.set()\nbuiltins.free.wait(30)\n"
    files = FlowFiles(
        [
            write("hangs.py", hangs + FLOW.format(name="hangs")),
            write("b.py", FLOW.format(name="b")),
        ],
        patience=0.1,
    )
    reached, free = threading.Event(), threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtins, "reached", reached, raising=False)
        patch.setattr(builtins, "free", free, raising=False)
        loading = threading.Thread(target=files.load, args=("hangs.py",))
        loading.start()
        assert reached.wait(30)
        assert files.load("b.py").name == "b"
        assert "hangs.py has not been loaded" in caplog.text
        free.set()
        loading.join()
        assert files.load("hangs.py").name == "hangs", "it is free again"


@pytest.mark.parametrize("late", [False, True], ids=["at the top", "within a function"])
def test_helpers_of_one_name_are_told_and_not_mixed(late: bool) -> None:
    for where in ("eu", "us"):
        write(f"{where}/mapping.py", f"NAME = '{where}'")
        line = (
            "def name():\n    from mapping import NAME\n" if late else "from mapping import NAME\n"
        )
        write(f"{where}/{where}.py", line + FLOW.format(name=where))
    files = FlowFiles(["eu/eu.py", "us/us.py"])
    for where in ("eu", "us"):

        def used(file: str = f"{where}/{where}.py", name: str = f"flow_{where}") -> None:
            files.load(file)
            next(m for n, m in sys.modules.items() if n.endswith(name)).name()

        with pytest.raises(ImportError if late else FlowError) as caught:
            used()
        said = str(caught.value)
        assert all(str(Path(f"{w}/mapping.py").resolve()) in said for w in ("eu", "us"))
        assert "rename one of them" in said
    assert "mapping" not in sys.modules


def test_two_flows_of_one_name_are_told_with_both_files() -> None:
    for where in ("eu", "us"):
        write(f"{where}/orders.py", FLOW.format(name="orders"))
    files = FlowFiles(["eu/orders.py", "us/orders.py"])
    files.load("eu/orders.py")
    with pytest.raises(SameName, match=r"eu/orders\.py has a flow 'orders', too"):
        files.load("us/orders.py")
    write("eu/orders.py", FLOW.format(name="orders-eu"))  # it is renamed, and the name is free
    assert files.load("eu/orders.py").name == "orders-eu"
    assert files.load("us/orders.py").name == "orders"


def test_a_flow_that_is_named_twice_is_found_however_it_is_written() -> None:
    write("flows/orders.py", FLOW.format(name="orders"))
    assert repeated(["flows/orders.py", "flows/crm.py", "flows/../flows/orders.py"]) == [
        "flows/orders.py",
        "flows/../flows/orders.py",
    ]
    assert repeated(["flows/orders.py", "flows.orders"]) == []


def test_an_installed_module_wins_over_a_helper_of_its_name() -> None:
    write("eu/json.py", "raise RuntimeError")
    write("eu/eu.py", "import json\n\njson.dumps({})\n" + FLOW.format(name="eu"))
    assert FlowFiles(["eu/eu.py"]).load("eu/eu.py").name == "eu"
