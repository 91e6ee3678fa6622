"""Values that cannot be are refused by name; the schema and the table follow values.yaml."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs_pages import ROOT, blocks_of
from helm_kit import CHART, Refused, of_kind, render

PAGE = ROOT / "docs" / "kubernetes.md"
GOOD: dict[str, Any] = {"image": {"repository": "r"}, "flows": {"orders": {"file": "flows/o.py"}}}
WRONG: list[tuple[str, Any, str]] = [
    ("image.repositry", "r", "repositry"),
    ("image.repository", 7, "/image/repository"),
    ("image.digest", "latest", "/image/digest"),
    ("image.pullPolicy", "Sometimes", "/image/pullPolicy"),
    ("imagePullSecrets", ["pull"], "/imagePullSecrets/0"),
    ("environment.name", "../prod", "/environment/name"),
    ("environment.file", "bootstrap", "/environment/file"),
    ("secrets.crm_token", {"name": "crm", "key": "token"}, "crm_token"),
    ("secrets.TOKEN", {"name": "crm"}, "/secrets/TOKEN"),
    ("secrets.TOKEN", "hunter2", "/secrets/TOKEN"),
    ("extraEnv", [{"value": "x"}], "/extraEnv/0"),
    ("extraEnvFrom", {"secretRef": {"name": "s"}}, "/extraEnvFrom"),
    ("flows", [], "/flows"),
    ("flows.orders", {}, "/flows/orders"),
    ("flows.Orders", {"file": "f.py"}, "Orders"),
    ("flows.orders.file", "flows/o.py; rm -rf /", "/flows/orders/file"),
    ("flows.orders.workers", {}, "/flows/orders/workers"),
    ("flows.orders.workers.all", {"replica": 2}, "replica"),
    ("flows.orders.workers.all", {"steps": []}, "/flows/orders/workers/all/steps"),
    ("flows.orders.workers.all", {"steps": ["send"]}, "/flows/orders/workers/all/steps/0"),
    ("worker.replicas", -1, "/worker/replicas"),
    ("worker.replicas", "two", "/worker/replicas"),
    ("worker.gracePeriodSeconds", 30, "/worker/gracePeriodSeconds"),
    ("worker.logLevel", "loud", "/worker/logLevel"),
    ("worker.ports", {"notices": 80}, "/worker/ports/notices"),
    ("worker.ports", {"NOTICES": 8085}, "NOTICES"),
    ("worker.data.size", "ten", "/worker/data/size"),
    ("worker.resources.request", {}, "request"),
    ("worker.scaling", {"mx": 3}, "mx"),
    ("worker.scaling.min", -1, "/worker/scaling/min"),
    ("worker.scaling.enabled", "yes", "/worker/scaling/enabled"),
    ("flows.orders.workers.all", {"scaling": {"max": 0}}, "/flows/orders/workers/all/scaling/max"),
    ("scaler.replicas", 0, "/scaler/replicas"),
    ("scaler.lead", "soon", "/scaler/lead"),
    ("worker.static", "yes", "/worker/static"),
    ("gateway.access", "access", "/gateway/access"),
    ("gateway.replicas", 0, "/gateway/replicas"),
    ("gateway.service.type", "Ingress", "/gateway/service/type"),
    ("gateway.ingress.hosts", ["a"], "hosts"),
    ("apply.mode", "argo", "/apply/mode"),
    ("networkPolicy.egressPorts", [99_999_999], "/networkPolicy/egressPorts/0"),
    ("metrics.serviceMonitor.interval", "often", "/metrics/serviceMonitor/interval"),
    ("extraObjects", [{"kind": "ConfigMap"}], "/extraObjects/0"),
    ("scaling", {"min": 1}, "scaling"),
]


@pytest.mark.parametrize(("path", "value", "named"), WRONG, ids=[f"{p}={v}" for p, v, _ in WRONG])
def test_a_wrong_value_is_refused_by_name(path: str, value: Any, named: str) -> None:
    with pytest.raises(Refused) as refused:
        render(_with(GOOD, path, value))
    said = [line for line in str(refused.value).splitlines() if line.startswith(("- at", "  - at"))]
    assert named in "\n".join(said)
    assert len(said) <= 3


def test_the_values_that_are_right_are_taken() -> None:
    assert of_kind(render(GOOD), "Deployment")


def test_it_works_inside_another_chart(tmp_path: Path) -> None:
    """Helm hands `global`, and the condition's `enabled`, to a chart inside another one."""
    umbrella = tmp_path / "platform"
    (umbrella / "charts").mkdir(parents=True)
    shutil.copytree(CHART, umbrella / "charts" / "trunkline")
    about = {
        "apiVersion": "v2",
        "name": "platform",
        "version": "1.0.0",
        "dependencies": [
            {"name": "trunkline", "version": "0.1.0", "condition": "trunkline.enabled"}
        ],
    }
    (umbrella / "Chart.yaml").write_text(yaml.safe_dump(about))
    values = {"global": {"x": 1}, "trunkline": {**GOOD, "enabled": True}}
    assert of_kind(render(values, umbrella), "Deployment")
    assert not render({**values, "trunkline": {**GOOD, "enabled": False}}, umbrella)


def test_schema_table_and_rules_follow_their_sources() -> None:
    generator = ROOT / "deploy" / "helm" / "generate.py"
    done = subprocess.run(
        [sys.executable, generator, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _with(values: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one value set."""
    first, _, rest = path.partition(".")
    if not rest:
        return {**values, first: value}
    return {**values, first: _with(values.get(first, {}), rest, value)}


def test_the_values_in_the_documentation_are_right() -> None:
    """As a reader saves them, and with each mode of `apply`."""
    block, gateway = [b for b in blocks_of(PAGE) if b.language == "yaml"]
    values = yaml.safe_load(block.text)
    assert of_kind(render(yaml.safe_load(gateway.text)), "Ingress")
    names = {w["metadata"]["name"] for w in of_kind(render(values), "Deployment")}
    assert names == {
        "r-orders-source",
        "r-orders-route",
        "r-orders-deliver",
        "r-notices",
        "r-small",
    }
    modes = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    schema = json.loads((CHART / "values.schema.json").read_text())
    known = schema["properties"]["apply"]["properties"]["mode"]["enum"]
    assert modes == known
    for mode in known:
        jobs = of_kind(render({**values, "apply": {"mode": mode}}), "Job")
        assert bool(jobs) == (mode != "off")
