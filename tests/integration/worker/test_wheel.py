"""What a user installs: the wheel of the sdist, in a fresh environment, has every package."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that ``python -m build`` makes from the sdist that it made first."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel, and the dependencies of the one that runs the tests."""
    home = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python]
    run(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=home)
    (site,) = home.glob("lib/python*/site-packages")
    # Links in a .pth of its own would not be followed: the checkout stays out of reach.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return home


def modules(wheel: Path) -> list[str]:
    """The names of all modules of a wheel; running ``__main__`` would be running the program."""
    files = [Path(name) for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")]
    names = [".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files]
    return sorted(name for name in names if not name.endswith("__main__"))


def test_every_module_of_the_checkout_is_in_the_wheel_and_can_be_imported(
    wheel: Path, environment: Path
) -> None:
    names = modules(wheel)
    source = ROOT / "src"
    folders = [
        source / "trunkline",
        *(p for p in (source / "trunkline").iterdir() if p.is_symlink()),
    ]
    here = {file.relative_to(source) for folder in folders for file in folder.rglob("*.py")}
    assert {str(file) for file in here} == {
        name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")
    }
    code = "import sys, importlib as i; print([i.import_module(n).__file__ for n in sys.argv[1:]])"
    files = run(environment / "bin" / "python", "-c", code, *names, cwd=environment)
    assert files.count(str(environment)) == len(names)


def test_the_command_runs(environment: Path) -> None:
    shown = run(environment / "bin" / "trunkline", "--help", cwd=environment)
    for command in ("check", "graph", "up", "schemas"):
        assert f" {command} " in shown


def test_types_and_schemas_are_in_it(wheel: Path) -> None:
    files = set(zipfile.ZipFile(wheel).namelist())
    schemas = {
        f"trunkline/{path.relative_to(ROOT)}" for path in (ROOT / "avro_schemas").rglob("*.avsc")
    }
    assert schemas
    assert schemas <= files
    assert "trunkline/py.typed" in files
    assert "trunkline/local/artifacts.lock.json" in files


def test_nothing_but_the_package_is_in_it(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"trunkline"}


def test_what_a_new_project_is_made_of_is_in_it(wheel: Path, environment: Path) -> None:
    """Also its Dockerfile, which is a link in the checkout."""
    run(environment / "bin" / "trunkline", "init", "acme-flows", cwd=environment)
    made = environment / "acme-flows" / "flows.Dockerfile"
    assert made.read_bytes() == (ROOT / "deploy" / "docker" / "flows.Dockerfile").read_bytes()
