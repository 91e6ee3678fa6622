"""A flow file, by its path or module name, as its Flow object.

Importing runs the file, as Python does; a flow's builders do not run, so nothing is connected.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import sysconfig
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from trunkline import project
from trunkline.errors import ConfigurationError
from trunkline.streams.flow.definition import Flow
from trunkline.streams.flow.problems import FlowError, Problem, SourceLocation

_OURS = sys.modules["trunkline"].__path__[0]
_INSTALLED = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
_NOT_THE_USERS = ("<frozen ", "<string>", *(folder + os.sep for folder in [_OURS, *_INSTALLED]))


_FOLDER = "it is a folder: name the files of its flows, as flows/*.py"


def load(target: str) -> Flow[Any]:
    """The one flow of a file (``flows/orders.py``) or a module (``company.flows.orders``).

    Each call runs a file anew; a module is imported once a process. A flow can import what
    is beside it, what is in the working directory, and what is in the project's. Raises FlowError,
    naming file and line, when it is not there, cannot be imported, or holds not exactly one Flow.
    """
    if is_file(target):
        # Beside the flow are its helpers (`from mapping import …`), as `python flows/orders.py` has
        # it.
        path = Path(target).resolve()
        return load_file(target, f"trunkline_flow_{path.stem}", beside=path.parent)
    _project_importable()
    return _only_flow(_import_module(target), target)


def is_file(target: str) -> bool:
    """Whether this names a file, and no module."""
    return target.endswith(".py") or os.sep in target or Path(target).is_file()


def load_file(target: str, module: str, *, beside: Path | None = None) -> Flow[Any]:
    """The one flow of a file, which runs as the module of this name. ``beside``: a folder from
    which it can import, too. Raises FlowError, as ``load``."""
    _project_importable()
    return _only_flow(_run_file(Path(target).resolve(), module, beside), target)


def _run_file(path: Path, name: str, beside: Path | None) -> ModuleType:
    if path.is_dir():
        raise _error(SourceLocation(str(path)), _FOLDER)
    if path.is_file() and path.suffix != ".py":
        raise _error(SourceLocation(str(path)), "it is no Python file: a flow's name ends in .py")
    if not path.is_file():
        raise _error(SourceLocation(str(path)), "there is no such file")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    if beside is not None:
        importable(beside)
    sys.modules[name] = module  # typing and pydantic look modules up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # sys.exit() in a flow's file must not end `check`
        raise _explained(error, str(path)) from error
    return module


def _import_module(name: str) -> ModuleType:
    hint = "give the path of a file that ends in .py, or the name of a module"
    if not name.strip() or name.startswith("."):  # importlib has other words for these
        raise _error(SourceLocation(name), f"there is no such module: {hint}")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise _error(SourceLocation(name), f"there is no such module: {hint}") from error
        raise _explained(error, name) from error
    except (Exception, SystemExit) as error:
        raise _explained(error, name) from error


def importable(folder: Path) -> None:
    """At the end of the path: a helper beside a flow never hides an installed package."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _project_importable() -> None:
    for folder in (Path.cwd(), project.root().resolve()):
        importable(folder)


def _only_flow(module: ModuleType, target: str) -> Flow[Any]:
    """The flow that was made in this module; those that it imports from others do not count."""
    if module.__file__ is None:  # a folder without __init__.py, which Python can import
        raise _error(SourceLocation(target), _FOLDER)
    file = module.__file__
    # By id, since a module may have two names for one flow.
    flows = {
        id(f): f for f in vars(module).values() if isinstance(f, Flow) and f.place.file == file
    }
    if not flows:
        hint = 'a flow file says flow = Flow("name", Env) at its top level'
        raise _error(SourceLocation(file), f"there is no flow in it: {hint}")
    flow, *more = flows.values()
    if more:
        others = ", ".join(f"{other.name!r} in line {other.place.line}" for other in more)
        raise _error(flow.place, f"a second flow, {others}: give each a file of its own")
    return flow


def _explained(error: BaseException, file: str) -> FlowError:
    """The error at the line of the user's code that led to it."""
    if isinstance(error, SyntaxError) and error.filename:
        return _error(
            SourceLocation(error.filename, error.lineno or 0), f"syntax error: {error.msg}"
        )
    frames = traceback.extract_tb(error.__traceback__)
    # The last line of the user's own: an error in pydantic, ten frames deep, was caused by theirs.
    users = [f for f in frames if f.filename == file or not f.filename.startswith(_NOT_THE_USERS)]
    place = (
        SourceLocation(users[-1].filename, users[-1].lineno or 0) if users else SourceLocation(file)
    )
    ours = isinstance(error, ConfigurationError)
    return _error(place, str(error) if ours else f"{type(error).__name__}: {error}")


def _error(place: SourceLocation, message: str) -> FlowError:
    return FlowError(Problem(place, message))
