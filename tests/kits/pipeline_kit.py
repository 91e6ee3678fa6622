"""Pipelines as their services run them, without the services: each step's commands, in bash.

Actions (``uses:``) are left out: a checkout is the project's folder, an artifact a file in it. What
``${{ … }}`` means is given. Docker is a stand-in that tells what it was asked; Helm is real, and
renders what it would send to a cluster.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from helm_kit import CHART, helm
from walk_kit import reader_environ

DIGEST = f"sha256:{'5e' * 32}"
MEANING = {
    "github.base_ref": "main",
    "github.repository": "Acme/Flows",
    "needs.image.outputs.digest": DIGEST,
    "secrets.GITHUB_TOKEN": "t0ken",
    "secrets.KAFKA_PASSWORD": "",
    "secrets.KUBECONFIG": "apiVersion: v1",
    "secrets.REGISTRY_TOKEN": "",
    "vars.TRUNKLINE_CHART": str(CHART),
    "vars.TRUNKLINE_IMAGE": "registry.example.com/trunkline:0.1.0",
}
"""What the expressions of a new project's workflows stand for."""

_EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")

_DOCKER = f"""#!/bin/sh
echo "docker $*" >> "$ASKED"
[ "$1" = login ] && cat > /dev/null
[ "$1" != inspect ] || echo "ghcr.io/acme/flows@{DIGEST}"
"""
_HELM = """#!/bin/bash -e
echo "helm $*" >> "$ASKED"
[ "$1 $2" = "upgrade --install" ]
shift 2
wanted=()
while [ $# -gt 0 ]; do
    case "$1" in --wait) ;; --timeout) shift ;; *) wanted+=("$1") ;; esac
    shift
done
HELM template "${wanted[@]}" > "$ASKED.yaml"
"""


class StepFailed(Exception):
    """A step ended with another code than 0; the text is what it said."""


@dataclass
class Pipeline:
    """``project``: its folder; ``scratch``: for what stands beside it; ``environ``: more variables
    of every step."""

    project: Path
    scratch: Path
    environ: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, text in (("docker", _DOCKER), ("helm", _HELM.replace("HELM", str(helm())))):
            program = self.scratch / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(text)
            program.chmod(0o755)
        self.asked.touch()

    @property
    def asked(self) -> Path:
        """What Docker and Helm were asked, a line each; Helm's objects are beside it."""
        return self.scratch / "asked"

    def objects(self) -> list[dict[str, Any]]:
        """What Helm made last."""
        return [one for one in yaml.safe_load_all(Path(f"{self.asked}.yaml").read_text()) if one]

    def run(self, shell: Iterable[str], script: str, environ: Mapping[str, str]) -> str:
        """Run a script; returns its output. Raises StepFailed."""
        ours = reader_environ()
        path = f"{self.scratch / 'bin'}:{ours['PATH']}"
        done = subprocess.run(
            [*shell, script],
            cwd=self.project,
            env={**ours, "PATH": path, "ASKED": str(self.asked), **self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise StepFailed(f"{script}\n{done.stdout}{done.stderr}")
        return done.stdout


@dataclass
class Github(Pipeline):
    """``meaning``: of expressions, as ``{"vars.TRUNKLINE_IMAGE": "trunkline:0.1.0"}``; ``event``:
    what has happened."""

    meaning: Mapping[str, str] = field(default_factory=dict)
    event: str = "push"

    def job(self, file: str, name: str, *, without: Iterable[str] = ()) -> dict[str, str]:
        """Run the steps of a job but those that are named; returns its outputs."""
        workflow = yaml.safe_load((self.project / ".github" / "workflows" / file).read_text())
        job, outputs = workflow["jobs"][name], self.scratch / "outputs"
        outputs.write_text("")
        shared = {
            "GITHUB_OUTPUT": str(outputs),
            "GITHUB_STEP_SUMMARY": str(self.scratch / "summary"),
            "RUNNER_TEMP": str(self.scratch),
            "GITHUB_ACTOR": "ada",
            "GITHUB_SHA": "0123456789abcdef",
        }
        for step in job["steps"]:
            other = step.get("if") and step["if"] != f"github.event_name == '{self.event}'"
            if "run" in step and step["name"] not in without and not other:
                given = {**workflow.get("env", {}), **job.get("env", {}), **step.get("env", {})}
                assert not _EXPRESSION.search(step["run"]), "whoever names it could run commands"
                shell = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c"]
                said = {key: self._resolved(text) for key, text in given.items()}
                self.run(shell, step["run"], {**shared, **said})
        return dict(line.split("=", 1) for line in outputs.read_text().splitlines())

    def _resolved(self, text: str) -> str:
        return _EXPRESSION.sub(lambda found: self.meaning[found[1]], text)


@dataclass
class Gitlab(Pipeline):
    """The jobs of ``.gitlab-ci.yml``."""

    def job(self, name: str, *, without: Iterable[str] = ()) -> str:
        """Run a job's commands but those that are given; returns their output."""
        jobs = yaml.safe_load((self.project / ".gitlab-ci.yml").read_text())
        job: dict[str, Any] = {}
        extends = jobs[name].get("extends", [])
        for base in [extends] if isinstance(extends, str) else extends:
            job |= jobs[base]
        job |= jobs[name]
        lines = [
            line for line in [*job.get("before_script", []), *job["script"]] if line not in without
        ]
        # Images without Python are small: busybox has no bash.
        shell = (
            ["bash", "-e", "-o", "pipefail", "-c"] if "python" in job["image"] else ["sh", "-ec"]
        )
        return self.run(shell, "\n".join(lines), {})


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile, flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.split(None, 1)[1]) for line in lines if line.strip()]


def copied(dockerfile: str) -> list[str]:
    """What a Dockerfile copies from the folder that it is built in."""
    copies = [shlex.split(text) for word, text in instructions(dockerfile) if word == "COPY"]
    return [
        source for *sources, _ in copies if not sources[0].startswith("--") for source in sources
    ]
