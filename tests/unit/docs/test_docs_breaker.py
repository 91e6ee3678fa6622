"""The page about breaker, windows and dead-letter limit: its tables are those of the code."""

from __future__ import annotations

import ast
import re
from dataclasses import fields

import pytest

from docs_pages import ROOT, TEXTS
from trunkline.streams.flow.circuit_breaker import CircuitBreaker
from trunkline.streams.flow.dead_letter_limit import DeadLetterLimit
from trunkline.streams.flow.maintenance import Window

PAGE = TEXTS[ROOT / "docs" / "breaker.md"]


@pytest.mark.parametrize(
    ("section", "policy"),
    [("Circuit breaker", CircuitBreaker), ("Dead-letter limit", DeadLetterLimit)],
)
def test_each_argument_is_there_with_its_default(section: str, policy: type) -> None:
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", text, re.MULTILINE)
    written = {name: ast.literal_eval(default) for name, default in rows}
    assert written == {field.name: field.default for field in fields(policy)}


def test_each_window_is_one() -> None:
    text = PAGE.split("| text | window |")[1].split("\n\n")[0]
    windows = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert len(windows) >= 5
    assert [str(Window.parse(window)) for window in windows] == windows
