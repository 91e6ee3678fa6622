"""Each mistake that can be seen without I/O is found, at its line, and nothing else is.

The cases and their marks are in ``checking_cases.py``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from checking_cases import FUTURE, HEAD, RIGHT, ROUTED, WRONG
from checking_enrichments import RIGHT_ENRICHMENTS, WRONG_ENRICHMENTS
from checking_operations import RIGHT_OPERATIONS, WRONG_OPERATIONS
from checking_tables import RIGHT_TABLES, WRONG_TABLES
from trunkline.streams.check.flows import check, check_together
from trunkline.streams.flow.definition import Flow
from trunkline.streams.flow.loading import load
from trunkline.streams.flow.problems import Problem

ALL_RIGHT = {**RIGHT, **RIGHT_ENRICHMENTS, **RIGHT_OPERATIONS, "tables": RIGHT_TABLES}
ALL_WRONG = {**WRONG, **WRONG_ENRICHMENTS, **WRONG_OPERATIONS, "tables": WRONG_TABLES}


@pytest.fixture(autouse=True)
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading a file makes its folder importable: for this test only."""
    monkeypatch.setattr(sys, "path", sys.path[:])


def write(path: Path, body: str, *, head: str = "") -> Path:
    path.write_text(head + HEAD + body)
    return path


def marked(text: str) -> list[tuple[int, str]]:
    """The marks of a file, as line and text."""
    return [
        (number, mark.strip())
        for number, line in enumerate(text.splitlines(), 1)
        for mark in re.split(r"# !! ", line)[1:]
    ]


def assert_as_marked(problems: list[Problem], file: Path) -> None:
    """Each problem is marked in its file, and each mark is a problem."""
    marks = marked(file.read_text())
    for problem in problems:
        assert Path(problem.place.file) == file
        text = str(problem).split(": ", 1)[1]
        mark = next((m for m in marks if m[0] == problem.place.line and m[1] in text), None)
        assert mark is not None, f"unexpected: {problem}"
        marks.remove(mark)
    assert not marks, f"not found: {marks}"


@pytest.mark.parametrize("head", ["", FUTURE], ids=["evaluated", "future"])
@pytest.mark.parametrize("case", ALL_RIGHT)
def test_a_right_flow_has_no_problems(case: str, head: str, tmp_path: Path) -> None:
    assert check(load(str(write(tmp_path / "right.py", ALL_RIGHT[case], head=head)))) == []


@pytest.mark.parametrize("head", ["", FUTURE], ids=["evaluated", "future"])
@pytest.mark.parametrize("case", ALL_WRONG)
def test_each_mistake_is_found_at_its_line(case: str, head: str, tmp_path: Path) -> None:
    file = write(tmp_path / "wrong.py", ALL_WRONG[case], head=head)
    assert_as_marked(check(load(str(file))), file)


def flow_of(path: Path, name: str, body: str) -> Flow[Any]:
    return load(str(write(path / f"{name}.py", body)))


def test_flows_of_one_name_would_share_their_inboxes(tmp_path: Path) -> None:
    flows = [flow_of(tmp_path, "a", ROUTED), flow_of(tmp_path, "b", ROUTED)]
    (problem,) = check_together(flows)
    assert Path(problem.place.file).name == "b.py"
    assert "flow 'orders': the flow at" in problem.message
    assert f"a.py:{flows[0].place.line}" in problem.message


def test_flows_that_see_another_type_in_one_topic(tmp_path: Path) -> None:
    reading = """
flow = Flow("reading", Env)
orders = flow.existing_topic("commerce.orders", PickList)
"""
    flows = [flow_of(tmp_path, "a", ROUTED), flow_of(tmp_path, "b", reading)]
    (problem,) = check_together(flows)
    assert problem.place.line == flows[1].topics[0].place.line
    assert "commerce.orders carries PickList here and Order at" in problem.message


def test_topics_that_kafka_takes_for_one(tmp_path: Path) -> None:
    other = ROUTED.replace('"orders"', '"other"').replace('"commerce.orders"', '"commerce_orders"')
    flows = [flow_of(tmp_path, "a", ROUTED), flow_of(tmp_path, "b", other)]
    (problem,) = check_together(flows)
    assert problem.place.line == flows[1].topics[0].place.line
    assert "'commerce_orders' collides with 'commerce.orders'" in problem.message


def test_a_topic_that_two_flows_publish_is_a_warning(tmp_path: Path) -> None:
    other = ROUTED.replace('"orders"', '"other"')
    flows = [flow_of(tmp_path, "a", ROUTED), flow_of(tmp_path, "b", other)]
    (problem,) = check_together(flows)
    assert problem.warning
    assert problem.place.line == flows[1].topics[0].place.line
    assert "'commerce.orders' is published by the flow 'orders', too, at" in problem.message


def test_flows_that_share_a_topic_are_right_together(tmp_path: Path) -> None:
    reading = """
flow = Flow("reading", Env)
orders = flow.existing_topic("commerce.orders", Order)
"""
    flows = [flow_of(tmp_path, "a", ROUTED), flow_of(tmp_path, "b", reading)]
    assert check_together(flows) == []
