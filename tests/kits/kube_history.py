"""What happened to the objects of a namespace, in the order in which the API server took it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kube_kit import Cluster

Object = dict[str, Any]
Event = tuple[int, str, Object]
Chosen = Callable[[Object], bool]


class History:
    """All that happens in a namespace from its making on. Versions are of one order for all kinds:
    they are those of the one etcd."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace
        pods = cluster.api.get(cluster.api.place("v1", "Pod", namespace))
        self._version = str(pods["metadata"]["resourceVersion"])

    def of(self, version: str, kind: str) -> list[Event]:
        """What happened to a kind: (version, ADDED or MODIFIED or DELETED, the object then)."""
        place = self._cluster.api.place(version, kind, self._namespace)
        return self._cluster.api.history(place, self._version)

    def first(self, version: str, kind: str, true: Chosen) -> int:
        """When an object of a kind was so first."""
        return min(at for at, _, found in self.of(version, kind) if true(found))

    def pods(self, chosen: Chosen) -> Iterator[list[Object]]:
        """The pods that were there at each moment, of those that are chosen."""
        there: dict[str, Object] = {}
        for _, change, found in self.of("v1", "Pod"):
            if not chosen(found):
                continue
            if change == "DELETED":
                there.pop(found["metadata"]["uid"], None)
            else:
                there[found["metadata"]["uid"]] = found
            yield list(there.values())


def serves(pod: Object) -> bool:
    """Whether it is ready, and was not asked to end."""
    conditions = pod.get("status", {}).get("conditions", [])
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def image(found: Object) -> str:
    """The image of a pod, or of a workload's or a job's pods."""
    spec = found["spec"].get("template", found)["spec"]
    return str(spec["containers"][0]["image"])


def is_of(component: str, **labels: str) -> Chosen:
    """Chooses pods by their labels."""
    wanted = {
        "app.kubernetes.io/component": component,
        **{f"trunkline/{k}": v for k, v in labels.items()},
    }
    return lambda pod: bool(wanted.items() <= pod["metadata"]["labels"].items())


def has(condition: str) -> Chosen:
    """Chooses objects by a condition of their status."""
    return lambda found: any(
        c["type"] == condition and c["status"] == "True"
        for c in found.get("status", {}).get("conditions", [])
    )


def all_of(*chosen: Chosen) -> Chosen:
    """Chooses what each of these does."""
    return lambda found: all(one(found) for one in chosen)
