"""The programs of a Kubernetes cluster: built from their Go modules, once a machine.

``python tests/kits/kube_programs.py`` builds what the cache lacks, and tells how far it is;
``--check`` only says what there is. Tests never build: it takes a quarter of an hour of CPU.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import debian_kit
from trunkline.local.artifacts import cache_dir

KUBERNETES, KEDA = "1.36.3", "2.21.0"
SAY_EVERY = 20.0
HOW = "`make test-chart` builds them, once a machine"


@dataclass(frozen=True)
class Module:
    """A Go module, and its programs by their packages.

    ``staged``: the version, as modules of their own, of the folders that it has in their places.
    ``stamps``: variables of the linker, as the release's own build sets them. ``definitions``: its
    folder with the definitions of its kinds of objects, and which of them.
    """

    path: str
    version: str
    programs: Mapping[str, str] = field(default_factory=dict)
    staged: str = ""
    stamps: Mapping[str, str] = field(default_factory=dict)
    definitions: tuple[str, ...] = ()


CLUSTER = Module(
    "k8s.io/kubernetes",
    f"v{KUBERNETES}",
    {
        name: f"k8s.io/kubernetes/cmd/{name}"
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    },
    staged=KUBERNETES.replace("1.", "v0.", 1),
    # Without them it calls itself v0.0.0, which is older than what the chart asks for.
    stamps={
        "k8s.io/component-base/version.gitVersion": f"v{KUBERNETES}",
        "k8s.io/component-base/version.gitMajor": KUBERNETES.split(".")[0],
        "k8s.io/component-base/version.gitMinor": KUBERNETES.split(".")[1],
    },
)
NODES = Module("sigs.k8s.io/kwok", "v0.8.0", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"})
MONITORS = Module(
    "github.com/prometheus-operator/prometheus-operator",
    "v0.85.0",
    definitions=(
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
)
SCALING = Module(
    "github.com/kedacore/keda/v2", f"v{KEDA}", definitions=("config/crd/bases/keda.sh_*.yaml",)
)
MODULES = (CLUSTER, NODES, MONITORS, SCALING)
ETCD = "etcd"
CLUSTER_PROGRAMS = (ETCD, *CLUSTER.programs, *NODES.programs)


def home() -> Path:
    """The folder of the programs, and of ``definitions/``."""
    return cache_dir() / f"kubernetes-{KUBERNETES}"


def missing(*programs: str) -> list[str]:
    """Those of these programs that are not built; definitions of kinds count as one."""
    lacking = [name for name in programs if not (home() / name).is_file()]
    found = {file.parent.name for file in definitions()}
    wanted = {_folder(module) for module in MODULES if module.definitions}
    return [*lacking, *(f"kinds of {name}" for name in sorted(wanted - found))]


def definitions() -> list[Path]:
    """The files with the definitions of KEDA's and the Prometheus operator's kinds."""
    return sorted((home() / "definitions").glob("*/*.yaml"))


class CannotBuild(Exception):
    """Go is not there, or does not get or build a module; the text says which and why."""


def build() -> None:
    """Builds what is missing. Raises CannotBuild."""
    home().mkdir(parents=True, exist_ok=True)
    if not (home() / ETCD).is_file():
        _say("etcd, from Debian's packages")
        _keep_etcd()
    for module in MODULES:
        lacking = [name for name in module.programs if not (home() / name).is_file()]
        if lacking or (
            module.definitions and not (home() / "definitions" / _folder(module)).is_dir()
        ):
            _say(f"{module.path} {module.version}: getting it")
            about = _go("mod", "download", "-json", f"{module.path}@{module.version}")
            _keep_definitions(module, Path(about["Dir"]))
            _keep_programs(module, about, lacking)


def _keep_etcd() -> None:
    try:
        with tempfile.TemporaryDirectory() as folder:
            shutil.move(debian_kit.unpacked(Path(folder), "etcd-server") / "usr/bin/etcd", home())
    except (OSError, subprocess.CalledProcessError) as error:
        raise CannotBuild(f"no etcd-server of Debian's: {error}") from error


def _keep_definitions(module: Module, source: Path) -> None:
    kept = _kept(module)
    if not module.definitions or kept.is_dir():
        return
    beside = home() / f"{kept.name}.{os.getpid()}"
    beside.mkdir()
    kept.parent.mkdir(exist_ok=True)
    for file in (file for pattern in module.definitions for file in source.glob(pattern)):
        shutil.copyfile(file, beside / file.name)
    beside.replace(kept)


def _folder(module: Module) -> str:
    return module.path.replace("/", "-")


def _kept(module: Module) -> Path:
    return home() / "definitions" / _folder(module)


def _keep_programs(module: Module, about: Mapping[str, str], programs: list[str]) -> None:
    """A module of our own that requires this one: `go install` refuses one that replaces others."""
    if not programs:
        return
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        packages = [module.programs[name] for name in programs]
        (folder / "go.mod").write_text(_own_module(module, Path(about["GoMod"])))
        stamps = " ".join(f"-X {name}={value}" for name, value in module.stamps.items())
        flags = ["-mod=mod", "-v", "-trimpath", f"-ldflags=-s -w {stamps}", f"-o={folder}/"]
        _build([*flags, *packages], folder, " and ".join(programs))
        for name, package in zip(programs, packages, strict=True):
            shutil.move(folder / package.rpartition("/")[2], folder / f"{name}.built")
            shutil.move(folder / f"{name}.built", home() / name)


def _own_module(module: Module, file: Path) -> str:
    """Its replacements hold for whoever builds it alone, so that ours must say them again."""
    about = json.loads(_run_go(["mod", "edit", "-json", str(file)]))
    lines = [
        "module trunkline.test/programs",
        f"go {about['Go']}",
        f"require {module.path} {module.version}",
    ]
    for replaced in about.get("Replace") or []:
        old, new = replaced["Old"], replaced["New"]
        path, version = new["Path"], new.get("Version", "")
        if path.startswith("./"):
            path, version = old["Path"], module.staged
        lines.append(f"replace {old['Path']} {old.get('Version', '')} => {path} {version}")
    return "\n".join(lines) + "\n"


def _build(arguments: list[str], folder: Path, what: str) -> None:
    begin, packages, last = time.monotonic(), 0, list[str]()
    process = subprocess.Popen(
        ["go", "build", *arguments],
        cwd=folder,
        env=_environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    told = begin
    for line in process.stderr:
        packages += not line.startswith("go: ")  # which tells of downloads
        last = [*last[-20:], line]
        if time.monotonic() - told > SAY_EVERY:
            told = time.monotonic()
            _say(f"{what}: {packages} packages in {told - begin:.0f} s, now {line.strip()}")
    if process.wait():
        raise CannotBuild(f"go build of {what} failed:\n{''.join(last)}")
    _say(f"{what}: built in {time.monotonic() - begin:.0f} s")


def _go(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_run_go(list(arguments)))
    return found


def _run_go(arguments: list[str]) -> str:
    try:
        done = subprocess.run(
            ["go", *arguments], env=_environment(), capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise CannotBuild("Go is not installed") from error
    if done.returncode:
        raise CannotBuild(f"go {' '.join(arguments)}: {done.stderr or done.stdout}")
    return done.stdout


def _environment() -> dict[str, str]:
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"}


def _say(text: str) -> None:
    print(f"kubernetes: {text}", flush=True)


def main() -> int:
    """Builds, or says what there is. Exit code 0 also where nothing can be built: tests skip."""
    if "--check" not in sys.argv[1:]:
        try:
            build()
        except CannotBuild as error:
            _say(f"NOT BUILT: {error}")
    if lacking := missing(*CLUSTER_PROGRAMS):
        _say(f"the chart is NOT TRIED on what needs {', '.join(lacking)}: {HOW}")
    else:
        _say(f"the chart is tried on Kubernetes {KUBERNETES}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
