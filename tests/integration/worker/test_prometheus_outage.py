"""A real Prometheus, with the rules that we ship, looks at a worker whose destination goes down and
comes back: the alert fires, says what it should, and is over."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from promtool_kit import prometheus
from trunkline.local.ports import free_port
from trunkline.params import Backbone
from worker_kit import Destination, Feed, Workers, environ_of, eventually

FLOW = Path(__file__).parent / "watched_flow.py"
RULES = Path(__file__).parents[3] / "deploy" / "prometheus" / "trunkline.rules.yml"
LIMIT = "trunkline_breaker_open_seconds) > "


def configuration(home: Path, port: int) -> Path:
    """Of a Prometheus that scrapes this port each second. The rules are as they are shipped, but
    for the ten minutes after which people are called."""
    rules = RULES.read_text()
    assert f"{LIMIT}600" in rules
    (home / "rules.yml").write_text(rules.replace(f"{LIMIT}600", f"{LIMIT}2"))
    job = {"job_name": "trunkline", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    about = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [job],
    }
    path = home / "prometheus.yml"
    path.write_text(yaml.safe_dump(about))
    return path


@contextmanager
def watching(home: Path, port: int) -> Iterator[str]:
    """The address of a Prometheus that looks at this port."""
    address = f"127.0.0.1:{free_port()}"
    command = [
        prometheus(),
        f"--config.file={configuration(home, port)}",
        f"--storage.tsdb.path={home / 'data'}",
        f"--web.listen-address={address}",
    ]
    with (home / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield f"http://{address}"
    finally:
        process.kill()
        process.wait()


def asked(url: str, path: str, **words: str) -> Any:
    """What Prometheus answers; nothing while it is not up."""
    try:
        with urllib.request.urlopen(f"{url}{path}?{urllib.parse.urlencode(words)}") as answer:
            return json.load(answer)["data"]
    except (urllib.error.URLError, ConnectionError):
        return {}


def firing(url: str) -> dict[str, dict[str, Any]]:
    """The alerts that fire, by name."""
    found = asked(url, "/api/v1/alerts").get("alerts", [])
    return {one["labels"]["alertname"]: one for one in found if one["state"] == "firing"}


def delivered(url: str) -> float:
    """What the worker's counter says of the deliveries."""
    query = 'trunkline_events_out_total{step="deliver"}'
    result = asked(url, "/api/v1/query", query=query).get("result", [])
    return float(result[0]["value"][1]) if result else 0.0


def test_an_outage_is_told_and_its_end_too(
    bootstrap: str, registry_url: str, tmp_path: Path
) -> None:
    backbone = Backbone(bootstrap=bootstrap, registry=registry_url)
    name = f"watched-{uuid.uuid4().hex[:8]}"
    feed = Feed(backbone, f"{name}.orders", partitions=1)
    with Destination() as api:
        environ = environ_of(backbone, flow=name, api=api.url)
        with Workers(FLOW, tmp_path, environ) as workers:
            (worker,) = workers.started("route,deliver")
            with watching(tmp_path, worker.port) as url:
                feed.orders([("a", 1)])
                eventually(lambda: delivered(url) == 1, "Prometheus counts a delivery")
                assert firing(url) == {}
                api.down()
                feed.orders([("a", 2)])
                eventually(lambda: firing(url), "somebody is called")
                (alert,) = firing(url).values()
                assert alert["labels"]["alertname"] == "TrunklineBreakerOpen"
                assert alert["labels"]["name"] == "erp"
                assert f"{name}.erp: the system is down" in alert["annotations"]["summary"]
                assert alert["annotations"]["runbook_url"] == "docs/alerts.md#trunklinebreakeropen"
                api.up()
                eventually(lambda: not firing(url), "it is over")
                eventually(lambda: delivered(url) == 2, "what waited is delivered")
            workers.stop()
