"""What the chart renders really runs: its containers as processes, on a real Kafka and registry."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from checker import disorders, repeats
from test_restarts import assert_routed_once, numbered

from helm_kit import of_kind, render
from pod_kit import Pod
from trunkline.params import Backbone
from worker_kit import Destination, Feed, eventually

FLOW_FILE = Path(__file__).with_name("feed_flow.py")
EVENTS = 3_000


def values(backbone: Backbone, name: str, **worker: Any) -> dict[str, Any]:
    """A route and a deliver workload. The API's address stands in for a secret."""
    at = {"bootstrap": backbone.bootstrap, "registry": backbone.registry, "create": False}
    workers = {"route": {"steps": ["route"]}, "deliver": {"steps": ["deliver"], "replicas": 2}}
    return {
        "image": {"repository": "flows"},
        "environment": {"name": "test", "file": {"trunkline": at}},
        "secrets": {"TRUNKLINE_PARAMS_API": {"name": "systems", "key": "api"}},
        "extraEnv": [{"name": "FLOW", "value": name}],
        "apply": {"mode": "job"},
        "worker": worker,
        "flows": {"feed": {"file": "flows/feed_flow.py", "workers": workers}},
    }


def test_pods_deliver_and_roll_to_other_values_without_loss_or_disorder(
    backbone: Backbone,
    name: str,
    feed: Feed,
    destination: Destination,
    tmp_path: Path,
    pods: list[Pod],
) -> None:
    """A rollout as Kubernetes makes it: a new pod is ready before an old one is asked to end."""
    secrets = {("systems", "api"): destination.url}
    image = {"flows/feed_flow.py": FLOW_FILE}

    def start(workload: dict[str, Any], objects: list[dict[str, Any]]) -> Pod:
        home = tmp_path / f"{workload['metadata']['name']}-{len(pods)}"
        pod = Pod(workload, objects, secrets=secrets, image=image, home=home)
        pods.append(pod)
        return pod

    first = render(values(backbone, name))
    (job,) = of_kind(first, "Job")
    start(job, first).done()  # workers create nothing here
    running = [
        (workload["metadata"]["name"], start(workload, first))
        for workload in of_kind(first, "Deployment")
        for _ in range(workload["spec"]["replicas"])
    ]
    assert sorted(of for of, _ in running) == ["r-feed-deliver", "r-feed-deliver", "r-feed-route"]
    for _, pod in running:
        pod.begun()

    destination.delay = 0.005
    writer = threading.Thread(target=feed.orders, args=[numbered(EVENTS)])
    writer.start()
    eventually(lambda: destination.deliveries, "it delivers")
    second = render(values(backbone, name, batch=500, logLevel="debug"))
    workloads = {w["metadata"]["name"]: w for w in of_kind(second, "Deployment")}
    for of, old in running:
        start(workloads[of], second).begun()
        old.stop()
    writer.join()

    eventually(lambda: len({d.id for d in destination.deliveries}) == EVENTS, "all are delivered")
    for pod in pods[1 + len(running) :]:
        pod.stop()
    expected = assert_routed_once(backbone, name, EVENTS)
    assert disorders(expected, destination.deliveries) == {}
    assert repeats(destination.deliveries, []).total == 0
