"""Faults that a chart may have, planted in copies of ours, and what whoever finds them says.

Helm and its schema find some; the API server refuses others, or warns of them. Schemas of fields
alone, without a server, let most of these pass.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chart_values import GATEWAY, SETS, SMALL, STATIC, WHOLE
from helm_kit import CHART


@dataclass(frozen=True)
class Fault:
    """In the copy's ``file``, ``right`` becomes ``wrong``; without a file the values are wrong.
    ``said``: a part of the complaint."""

    said: str
    values: Mapping[str, Any] = field(default_factory=lambda: SMALL)
    file: str = ""
    right: str = ""
    wrong: str = ""

    def planted(self, folder: Path) -> Path:
        """The chart with it, a copy in a new folder."""
        if not self.file:
            return CHART
        shutil.copytree(CHART, folder)
        file = folder / self.file
        text = file.read_text()
        assert self.right in text, f"{self.file} has no {self.right!r}"
        file.write_text(text.replace(self.right, self.wrong, 1))
        return folder


HELPERS, WORKERS = "templates/_helpers.tpl", "templates/workers.yaml"
RELEASE, GATEWAYS = "templates/release.yaml", "templates/gateway.yaml"
SCALERS, APPLY = "templates/scaler.yaml", "templates/apply.yaml"
HOOK = {**SMALL, "apply": {"mode": "hook"}}
RIGHT_REPLICAS = "  replicas: {{ $w.replicas }}\n"


def worker(**settings: Any) -> dict[str, Any]:
    """Small values with these settings of workers."""
    return {**SMALL, "worker": settings}


FAULTS = {
    "selector is not of the labels": Fault(
        "`selector` does not match template `labels`",
        file=WORKERS,
        right="      {{- $chosen | nindent 6 }}\n",
        wrong="      {{- $chosen | nindent 6 }}\n      tier: backend\n",
    ),
    "more is requested than the limit": Fault(
        "must be less than or equal to memory limit",
        worker(resources={"requests": {"memory": "1Gi"}, "limits": {"memory": "256Mi"}}),
    ),
    "a port that is none": Fault(
        "must be between 1 and 65535",
        file=WORKERS,
        right="containerPort: 8090",
        wrong="containerPort: 99999999",
    ),
    "a port that is none, in the values": Fault(
        "/networkPolicy/egressPorts/0", {**SMALL, "networkPolicy": {"egressPorts": [99_999_999]}}
    ),
    "scaleTargetRef.nmae": Fault(
        "nmae",
        SETS["scaled"],
        file=SCALERS,
        right="    name: {{ $w.name | quote }}\n  minReplicaCount",
        wrong="    nmae: {{ $w.name | quote }}\n  minReplicaCount",
    ),
    "cron that is a number": Fault(
        "desiredReplicas",
        worker(steps=["route"], scaling={"enabled": True}),
        file=SCALERS,
        right='desiredReplicas: "1"',
        wrong="desiredReplicas: 1",
    ),
    "root": Fault(
        "runAsNonRoot != true",
        file=HELPERS,
        right="runAsNonRoot: true\nrunAsUser: 10001",
        wrong="runAsNonRoot: false\nrunAsUser: 0",
    ),
    "no seccomp profile": Fault(
        "seccompProfile",
        file=HELPERS,
        right="seccompProfile:\n  type: RuntimeDefault\n",
        wrong="",
    ),
    "more privileges": Fault(
        "allowPrivilegeEscalation != false",
        file=HELPERS,
        right="allowPrivilegeEscalation: false",
        wrong="allowPrivilegeEscalation: true",
    ),
    "capabilities are kept": Fault(
        "unrestricted capabilities", file=HELPERS, right="  drop: [ALL]", wrong="  drop: [NET_RAW]"
    ),
    "the job's pod is not restricted": Fault(
        "host namespaces",
        {**SMALL, "apply": {"mode": "job"}},
        file=APPLY,
        right="    enableServiceLinks: false\n",
        wrong="    enableServiceLinks: false\n    hostNetwork: true\n",
    ),
    "a folder of the node": Fault(
        "hostPath",
        worker(extraVolumes=[{"name": "host", "hostPath": {"path": "/etc"}}]),
    ),
    "a variable twice": Fault(
        "TRUNKLINE_DATA", {**SMALL, "extraEnv": [{"name": "TRUNKLINE_DATA", "value": "/x"}]}
    ),
    "a mount of no volume": Fault(
        'Not found: "ca"', worker(extraVolumeMounts=[{"name": "ca", "mountPath": "/ca"}])
    ),
    "a field that is none": Fault(
        "readinesProbe", file=WORKERS, right="readinessProbe:", wrong="readinesProbe:"
    ),
    "a probe that runs backwards": Fault(
        "must be greater than or equal to 0",
        file=WORKERS,
        right="periodSeconds: 5",
        wrong="periodSeconds: -5",
    ),
    "a number that is a word": Fault(
        "replicas", file=WORKERS, right=RIGHT_REPLICAS, wrong="  replicas: two\n"
    ),
    "a job that is always started again": Fault(
        'valid values: "OnFailure", "Never"',
        HOOK,
        file=APPLY,
        right="restartPolicy: Never",
        wrong="restartPolicy: Always",
    ),
    "a budget of both kinds": Fault(
        "cannot be both set",
        WHOLE,
        file=WORKERS,
        right="  maxUnavailable: {{ $w.maxUnavailable }}\n",
        wrong="  maxUnavailable: {{ $w.maxUnavailable }}\n  minAvailable: 1\n",
    ),
    "a disk of no size": Fault(
        "quantities must match",
        WHOLE,
        file=WORKERS,
        right="storage: {{ $w.data.size }}",
        wrong="storage: ten",
    ),
    "a rollout that cannot move": Fault(
        "may not be 0 when `maxSurge` is 0",
        worker(
            strategy={
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0},
            }
        ),
    ),
    "no image": Fault(
        "image: Required value",
        file=WORKERS,
        right='image: {{ include "trunkline.image" $root }}',
        wrong='image: ""',
    ),
    "a Service's port twice": Fault(
        "Duplicate value",
        file=RELEASE,
        right="      targetPort: health\n",
        wrong="      targetPort: health\n    - name: health\n      port: 8091\n",
    ),
    "a label that is none": Fault(
        "a valid label must be", {**SMALL, "commonLabels": {"team": "not a label!"}}
    ),
    "a name that is none": Fault("/fullnameOverride", {**SMALL, "fullnameOverride": "Prod_1"}),
    "a monitor of nothing": Fault(
        "endpoint", WHOLE, file=RELEASE, right="  endpoints:\n", wrong="  endpoint:\n"
    ),
    "a rule without an expression": Fault(
        "exprs", WHOLE, file="files/trunkline.rules.yml", right="expr:", wrong="exprs:"
    ),
    "a protocol that is none": Fault(
        "TCPP", file=RELEASE, right="{protocol: TCP, port: health}", wrong="{protocol: TCPP}"
    ),
    "an Ingress' path that is none": Fault(
        'Unsupported value: "Prefixes"',
        GATEWAY,
        file=GATEWAYS,
        right='"Prefix" (hasSuffix',
        wrong='"Prefixes" (hasSuffix',
    ),
    "a secret without a key": Fault(
        "valueFrom.secretKeyRef.key",
        WHOLE,
        file=HELPERS,
        right="      key: {{ $from.key | quote }}\n",
        wrong="",
    ),
    "an end before the beginning": Fault(
        "terminationGracePeriodSeconds",
        file=WORKERS,
        right="{{ $w.gracePeriodSeconds }}\n      securityContext",
        wrong="-1\n      securityContext",
    ),
    "an order of pods that is none": Fault(
        "podManagementPolicy",
        STATIC,
        file=WORKERS,
        right="podManagementPolicy: Parallel",
        wrong="podManagementPolicy: AllAtOnce",
    ),
    "a ConfigMap of numbers": Fault(
        "data",
        {
            **SMALL,
            "extraObjects": [
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": "numbers"},
                    "data": {"a": 1},
                }
            ],
        },
    ),
}
