"""The flow in the documentation is a right one, and the documentation names all there is."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

import pytest

from trunkline import Flow, Retry
from trunkline.params import Backbone, environment_file
from trunkline.streams.check.flows import check
from trunkline.streams.flow.loading import load
from trunkline.streams.flow.policy import DestinationOptions

PAGE = (Path(__file__).parents[3] / "docs" / "flows.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(
    ("number", "routes"), [(0, ["pick_list", "customer_history"]), (1, ["pick"])]
)
def test_the_flows_are_right(
    number: int, routes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "documented.py").write_text(blocks("python")[number])
    flow = load(str(tmp_path / "documented.py"))
    assert check(flow) == []
    assert [route.name for route in flow.routes] == routes


def test_the_environment_is_right(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    (tmp_path / "prod.toml").write_text(text)
    tables = environment_file("prod", tmp_path)
    assert Backbone.model_validate(tables["trunkline"]).replication == 3


def test_every_argument_of_a_policy_is_described() -> None:
    page = (Path(__file__).parents[3] / "docs" / "delivery.md").read_text()
    table = page.split("## Arguments")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(
        DestinationOptions.__annotations__
    )


@pytest.mark.parametrize("method", ["topic", "route"])
def test_every_argument_is_described(method: str) -> None:
    section = PAGE.split(f"### `@flow.{method}")[1].split("\n#")[0]
    names = inspect.signature(getattr(Flow, method)).parameters
    for name in set(names) - {"self", "build", "topic"}:  # the topic stands in the heading
        assert f"`{name}`" in section or f"{name}=" in section


def test_the_default_policy_is_as_written() -> None:
    written = ", ".join(f'"{delay}"' for delay in Retry.DEFAULT.delays)
    assert f"`Retry({written})`" in PAGE
