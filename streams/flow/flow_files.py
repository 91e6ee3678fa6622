"""Flow files that share a process: each with the helpers beside it, none with another's."""

from __future__ import annotations

import logging
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from trunkline.streams.flow.definition import Flow
from trunkline.streams.flow.loading import importable, is_file, load, load_file
from trunkline.streams.flow.problems import FlowError, Problem

log = logging.getLogger(__name__)


class BesideFlows(MetaPathFinder):
    """Finds the modules that stand beside flow files, after all that is installed.

    Python has one module of a name in a process. With the folders of two flows on its path, the
    second ``from mapping import …`` would silently get the first one's module; so a name that more
    than one folder has is refused, whoever imports it first, and when.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = [str(folder) for folder in folders]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where a module is that nobody else has. Raises ImportError if two folders have it."""
        del target
        if path is not None:  # of a package, which has been found
            return None
        found = [
            spec
            for folder in self._folders
            # A folder of any name is a namespace to Python: of these the first one, as ever.
            if (spec := PathFinder.find_spec(fullname, [folder])) and spec.origin
        ]
        if len(found) > 1:
            places = " and ".join(str(spec.origin) for spec in found)
            raise ImportError(
                f"{fullname!r} is {places}: flows of one process share their modules, so rename "
                "one of them, make packages of the folders, or run these flows in processes of "
                "their own",
                name=fullname,
            )
        return found[0] if found else PathFinder.find_spec(fullname, self._folders)


class FlowFiles:
    """Flows by their files or modules, for one process. Each ``load`` runs a file anew.

    Files of one name in different folders are modules of different names, so that nothing of theirs
    is mixed. From any thread; one file is run at a time, since what they import is the process's,
    but for one that takes longer than ``patience`` seconds: it may never end, and the others do not
    wait for it.
    """

    def __init__(self, targets: Sequence[str], *, patience: float = 30.0) -> None:
        self._patience = patience
        self._loading = ""
        self._targets = list(targets)
        files = [Path(target).resolve() for target in targets if is_file(target)]
        stems = Counter(path.stem for path in dict.fromkeys(files))
        self._modules = {
            path: f"trunkline_flow_{path.stem}" + (f"_{n}" if stems[path.stem] > 1 else "")
            for n, path in enumerate(dict.fromkeys(files))
        }
        self._names: dict[str, str] = {}
        self._lock, self._changing = threading.Lock(), threading.Lock()
        importable(Path.cwd())
        folders = dict.fromkeys(path.parent for path in files)
        sys.meta_path.append(BesideFlows([f for f in folders if str(f) not in sys.path]))

    def load(self, target: str) -> Flow[Any]:
        """The one flow of a target. Raises FlowError, as ``loading.load`` does, and if another
        target's flow has the same name: both would be one to Kafka."""
        lock = self._turn()
        try:
            self._loading = target
            return self._load(target)
        finally:
            lock.release()

    def _turn(self) -> threading.Lock:
        """The lock, once it is ours; another one if whoever has it does not give it back."""
        while True:
            lock = self._lock
            if lock.acquire(timeout=self._patience):
                return lock
            with self._changing:
                if lock is self._lock:  # the first one that lost its patience
                    said = "%s has not been loaded for %.0f s: the others do not wait for it"
                    log.warning(said, self._loading, self._patience)
                    self._lock = threading.Lock()

    def _load(self, target: str) -> Flow[Any]:
        if is_file(target):
            flow = load_file(target, self._modules[Path(target).resolve()])
        else:
            flow = load(target)
        other = self._names.setdefault(flow.name, target)
        if other != target:
            raise SameName(Problem(flow.place, f"{other} has a flow {flow.name!r}, too: {_RENAME}"))
        # A file whose flow was renamed gives its old name free.
        self._names = {n: t for n, t in self._names.items() if t != target or n == flow.name}
        return flow


_RENAME = "topics and groups are named after a flow, so rename one of them, or leave one out"


class SameName(FlowError):
    """Two flows of one name are asked for."""


def repeated(targets: Sequence[str]) -> list[str]:
    """Those that are asked for more than once, however they are written."""
    places = [str(Path(t).resolve()) if is_file(t) else t for t in targets]
    return [
        target for target, place in zip(targets, places, strict=True) if places.count(place) > 1
    ]
