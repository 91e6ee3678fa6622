"""What becomes of pods on kwok's nodes, by the tag of their image.

A pod is ready after a moment, and one of a Job completes. ``broken``: a worker is never ready, and
a Job's pod fails. A pod that is deleted takes a moment to end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

BROKEN = "registry.example.com/acme/flows:broken"
MOMENT = {"durationMilliseconds": 200, "jitterDurationMilliseconds": 500}

_HERE = {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"}
_GOING = {"key": ".metadata.deletionTimestamp", "operator": "Exists"}
_NEW = {"key": ".status.podIP", "operator": "DoesNotExist"}
_RUNNING = {"key": ".status.phase", "operator": "In", "values": ["Running"]}
_OF_A_JOB = {"key": ".metadata.ownerReferences.[].kind", "operator": "In", "values": ["Job"]}
_IS_BROKEN = {"key": ".spec.containers.[].image", "operator": "In", "values": [BROKEN]}
_IS_WELL = {**_IS_BROKEN, "operator": "NotIn"}

_STATUS = """
{{{{ $now := Now }}}}
conditions:
{{{{ range $kind := list "Initialized" "PodScheduled" }}}}
- lastTransitionTime: {{{{ $now | Quote }}}}
  status: "True"
  type: {{{{ $kind }}}}
{{{{ end }}}}
{{{{ range $kind := list "Ready" "ContainersReady" }}}}
- lastTransitionTime: {{{{ $now | Quote }}}}
  status: "{ready}"
  type: {{{{ $kind }}}}
{{{{ end }}}}
containerStatuses:
{{{{ range .spec.containers }}}}
- image: {{{{ .image | Quote }}}}
  imageID: ""
  name: {{{{ .name | Quote }}}}
  ready: {contained}
  restartCount: 0
  state:
{state}
{{{{ end }}}}
hostIP: {{{{ NodeIPWith .spec.nodeName | Quote }}}}
{{{{ with .metadata }}}}
podIP: {{{{ PodIPWith $.spec.nodeName false .uid .name .namespace | Quote }}}}
{{{{ end }}}}
phase: {phase}
startTime: {{{{ $now | Quote }}}}
"""
_RUNS = "    running:\n      startedAt: {{ $now | Quote }}"
_ENDED = (
    "    terminated:\n      exitCode: CODE\n      startedAt: {{ $now | Quote }}\n"
    "      finishedAt: {{ $now | Quote }}"
)


_UNREADY = {
    "key": '.status.conditions.[] | select( .type == "Ready" ) | .status',
    "operator": "NotIn",
    "values": ["True"],
}
_NODE = """
{{ $now := Now }}
conditions:
- type: Ready
  status: "True"
  reason: KubeletReady
  lastHeartbeatTime: {{ $now | Quote }}
  lastTransitionTime: {{ $now | Quote }}
addresses:
- type: InternalIP
  address: 127.0.0.1
allocatable: {cpu: 1k, memory: 1Ti, pods: 1k}
capacity: {cpu: 1k, memory: 1Ti, pods: 1k}
phase: Running
"""


def stages() -> Iterator[dict[str, Any]]:
    """The stages of nodes, which are ready at once, and of pods."""
    yield _stage("node", [_UNREADY], {"statusTemplate": _NODE}, "Node")
    runs = _RUNS
    yield _stage("ready", [_HERE, _NEW, _IS_WELL], _status("Running", runs, ready=True))
    yield _stage("unready", [_HERE, _NEW, _IS_BROKEN], _status("Running", runs, ready=False))
    done, failed = _ENDED.replace("CODE", "0"), _ENDED.replace("CODE", "1")
    of_a_job = [_HERE, _RUNNING, _OF_A_JOB]
    yield _stage("complete", [*of_a_job, _IS_WELL], _status("Succeeded", done, ready=False))
    yield _stage("fail", [*of_a_job, _IS_BROKEN], _status("Failed", failed, ready=False))
    yield _stage("end", [_GOING], {"finalizers": {"empty": True}, "delete": True})


def _status(phase: str, state: str, *, ready: bool) -> dict[str, Any]:
    contained = str(ready).lower()
    text = _STATUS.format(ready=ready, contained=contained, state=state, phase=phase)
    return {"statusTemplate": text}


def _stage(
    name: str, matches: list[dict[str, Any]], becomes: dict[str, Any], kind: str = "Pod"
) -> dict[str, Any]:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": kind},
            "selector": {"matchExpressions": matches},
            "delay": MOMENT if kind == "Pod" else {"durationMilliseconds": 0},
            "next": becomes,
        },
    }
