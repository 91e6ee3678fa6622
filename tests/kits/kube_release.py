"""A release of the chart on a cluster: Helm runs, and a complaint of the API server is an error."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from helm_kit import CHART, helm
from kube_kit import Cluster

HOOKS = {("ConfigMap", "r-apply"), ("Job", "r-apply")}
"""What Helm does not delete with a release, since hooks are none of its objects."""


class Complaint(Exception):
    """Helm ended with an error, or printed a warning; the text is what it said."""


@dataclass(frozen=True)
class Release:
    """The release ``r``, or another, in a namespace."""

    cluster: Cluster
    namespace: str
    name: str = "r"

    def install(self, values: Mapping[str, Any], *more: str, chart: Path = CHART) -> None:
        """``helm install``. Raises Complaint, as all of these."""
        self._helm("install", self.name, str(chart), "--values", "-", *more, values=values)

    def upgrade(self, values: Mapping[str, Any], *more: str, chart: Path = CHART) -> None:
        """``helm upgrade``."""
        self._helm("upgrade", self.name, str(chart), "--values", "-", *more, values=values)

    def rollback(self, revision: int, *more: str) -> None:
        """``helm rollback``."""
        self._helm("rollback", self.name, str(revision), *more)

    def uninstall(self, *more: str) -> None:
        """``helm uninstall``."""
        self._helm("uninstall", self.name, *more)

    def objects(self, *kinds: tuple[str, str]) -> list[dict[str, Any]]:
        """The objects of these kinds, by (apiVersion, kind), that are the release's."""
        chosen = f"?labelSelector=app.kubernetes.io/instance={self.name}"
        found = []
        for version, kind in kinds:
            place = self.cluster.api.place(version, kind, self.namespace)
            found += [{"kind": kind, **one} for one in self.cluster.api.list(place + chosen)]
        return found

    def workloads(self) -> list[dict[str, Any]]:
        """Its Deployments and StatefulSets."""
        return self.objects(("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"))

    def pods(self, **labels: str) -> list[dict[str, Any]]:
        """Its pods with these labels that are not ending."""
        found = [p for p in self.objects(("v1", "Pod")) if "deletionTimestamp" not in p["metadata"]]
        return [p for p in found if labels.items() <= p["metadata"]["labels"].items()]

    def _helm(self, *arguments: str, values: Mapping[str, Any] | None = None) -> None:
        place = self.cluster.kubeconfig.parent
        homes = {f"HELM_{what}_HOME": str(place / "helm") for what in ("CACHE", "CONFIG", "DATA")}
        done = subprocess.run(
            [helm(), *arguments, "--namespace", self.namespace],
            input=yaml.safe_dump(dict(values or {})),
            env={**os.environ, **homes, "KUBECONFIG": str(self.cluster.kubeconfig)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or done.stderr.strip():
            raise Complaint(done.stderr)
