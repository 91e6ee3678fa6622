"""The chart's gateway really runs: its container as a process, with what its pod mounts."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway_kit import FLOW, Caller, System, client_key, order
from helm_kit import of_kind, render
from pod_kit import Pod
from trunkline.params import Backbone
from worker_kit import Feed, eventually


def values(backbone: Backbone, name: str, topic: str) -> dict[str, Any]:
    """A gateway, and a worker that does what it is asked for."""
    at = {"bootstrap": backbone.bootstrap, "registry": backbone.registry, "create": False}
    return {
        "image": {"repository": "flows"},
        "environment": {"name": "test", "file": {"trunkline": at}},
        "secrets": {"TRUNKLINE_PARAMS_ERP_URL": {"name": "systems", "key": "erp"}},
        "extraEnv": [{"name": "FLOW", "value": name}, {"name": "TOPIC", "value": topic}],
        "apply": {"mode": "job"},
        "flows": {"shop": {"file": "flows/shop.py"}},
        "gateway": {"enabled": True, "access": {"secret": "access"}},
    }


def test_the_gateways_pod_takes_calls_and_follows_its_secret(
    backbone: Backbone, name: str, feed: Feed, tmp_path: Path, pods: list[Pod]
) -> None:
    """From the job that makes topics to the last call, which comes while the pod is ending."""
    flow, access = tmp_path / "shop.py", tmp_path / "access.toml"
    flow.write_text(FLOW)
    key = client_key(access, "crm", "erp/*")
    objects = render(values(backbone, name, feed.topic))
    with System() as erp:
        secrets = {("systems", "erp"): erp.url, ("access", "access.toml"): access.read_text()}

        def start(kind: str, workload: str) -> Pod:
            (one,) = [
                o for o in of_kind(objects, kind) if o["metadata"]["name"].startswith(workload)
            ]
            image, home = {"flows/shop.py": flow}, tmp_path / workload
            pods.append(Pod(one, objects, secrets=secrets, image=image, home=home))
            return pods[-1]

        start("Job", "r-apply").done()
        worker, gateway = start("Deployment", "r-shop"), start("Deployment", "r-gateway")
        gateway.begun()
        worker.begun()
        url = f"http://127.0.0.1:{gateway.ports['http']}"
        with closing(Caller(url, key)) as crm, closing(Caller(url, "tlk_nobody_knows")) as nobody:
            assert nobody.post("correct_order", order("1"), key="c1").status_code == 401
            assert crm.post("correct_order", order("1"), key="c1").status_code == 200
            assert [one.method for one in erp.of("1")] == ["PATCH"]
            other = client_key(access, "wms", "erp/*")  # a new client comes into the Secret
            gateway.changed("access", "access.toml", access.read_text())
            with closing(Caller(url, other)) as wms:
                eventually(
                    lambda: wms.post("correct_order", order("2"), key="c2").status_code == 200,
                    "wms",
                )
            assert erp.of("2")
            ending = threading.Thread(target=gateway.stop)
            ending.start()
            time.sleep(1)  # within the five seconds in which it is still sent to
            assert crm.post("correct_order", order("3"), key="c3").status_code == 200
            ending.join()
        assert gateway.process.returncode == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/healthz")
        worker.stop()
