"""The alerting rules that we ship: Prometheus' own tool tests them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from promtool_kit import promtool
from trunkline.scaler.metrics import families as scaler_families
from trunkline.streams.metrics import Metrics

ROOT = Path(__file__).parents[3]
RULES = ROOT / "deploy" / "prometheus" / "trunkline.rules.yml"
TESTS = ROOT / "tests" / "prometheus" / "trunkline.rules.test.yml"
ALERTS_PAGE = (ROOT / "docs" / "alerts.md").read_text()
ALERTS = re.findall(r"- alert: (\w+)", RULES.read_text())


def run(*arguments: str | Path) -> None:
    done = subprocess.run(
        [promtool(), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_rules() -> None:
    run("check", "rules", "--lint-fatal", RULES)


def test_the_rules_fire_when_they_should_and_only_then() -> None:
    run("test", "rules", TESTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_each_rule_is_tested_firing_and_silent(alert: str) -> None:
    cases = re.findall(rf"alertname: {alert}\b.*?exp_alerts:( \[\])?", TESTS.read_text(), re.DOTALL)
    assert {bool(silent) for silent in cases} == {True, False}


@pytest.mark.parametrize("alert", ALERTS)
def test_each_rule_is_documented(alert: str) -> None:
    assert f"`{alert}`" in ALERTS_PAGE


@pytest.mark.parametrize("alert", ALERTS)
def test_each_rule_leads_to_what_it_means_and_what_to_do(alert: str) -> None:
    rule = RULES.read_text().split(f"- alert: {alert}\n")[1].split("- alert: ")[0]
    assert f"runbook_url: docs/alerts.md#{alert.lower()}\n" in rule
    about = ALERTS_PAGE.split(f"\n### {alert}\n")[1].split("\n## ")[0].split("\n### ")[0]
    assert "**Means**: " in about
    assert "**Do**" in about


def test_the_metrics_that_the_rules_read_exist() -> None:
    families = [*Metrics().registry.collect(), *scaler_families()]
    exported = {f.name + ("_total" if f.type == "counter" else "") for f in families}
    named = set(re.findall(r"\btrunkline_\w+", RULES.read_text()))
    assert len(named) >= 5
    assert named <= exported
