"""``trunkline dlq`` as a person calls it, as far as no Kafka is needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from letters_kit import letter
from trunkline.admin.dead_letters import DeadLetters
from trunkline.admin.targets import Target
from trunkline.cli import app
from trunkline.errors import ConfigurationError
from trunkline.params import Backbone
from trunkline.streams.dlq.letters import DeadLetter, DeadLetterFilter
from trunkline.streams.replay.request import Request

LETTERS = [letter(f"no customer {n}", minutes=-n, offset=n) for n in range(3)]


class Queue:
    """A dead-letter queue that has ``LETTERS``, or none."""

    def __init__(self) -> None:
        self.found = LETTERS

    def letters(
        self, selection: DeadLetterFilter | None = None, *, handled: bool = False
    ) -> Iterator[DeadLetter]:
        del handled
        return (one for one in self.found if (selection or DeadLetterFilter()).matches(one))


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    """Every destination has this queue."""
    found: Any = Queue()

    def opened(backbone: Backbone, target: Target) -> DeadLetters:
        return DeadLetters(backbone, target, False, found)

    monkeypatch.setattr("trunkline.cli.dlq.open_dead_letters", opened)
    return found  # type: ignore[no-any-return]


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """What is handed to the workers; nobody watches it."""
    found: list[Request] = []

    def submit(letters: DeadLetters, request: Request, *, by: str = "") -> Request:
        found.append(request)
        return replace(request, state="done") if letters.is_source else request

    monkeypatch.setattr(DeadLetters, "submit", submit)
    monkeypatch.setattr("trunkline.cli.dlq.follow", lambda *arguments, wait: None)
    return found


def run(*line: str, input: str = "") -> Result:
    result: Any = CliRunner().invoke(app, ["dlq", *line], input=input)
    return result  # type: ignore[no-any-return]


@pytest.mark.usefixtures("queue")
def test_a_list_is_in_the_order_of_death_and_says_that_there_is_more() -> None:
    lines = run("list", "f.erp").output.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["2/2", "2/1", "2/0"]
    *_, last = run("list", "f.erp", "--limit", "2").output.splitlines()
    assert last == "there are more than 2: filter them, or raise --limit"
    assert len(run("list", "f.erp", "--limit", "3", "--json").output.splitlines()) == 3


def test_an_empty_queue_is_told(queue: Queue) -> None:
    queue.found = []
    for command in ("list", "group"):
        assert run(command, "f.erp").output == "f.erp: no dead letters that nobody has handled\n"
        assert run(command, "f.erp", "--all").output == "f.erp: no dead letters\n"
    assert run("redrive", "f.erp").output == "f.erp: no dead letters to redrive\n"


@pytest.mark.usefixtures("queue")
def test_a_redrive_asks_and_hands_over_what_was_meant(submitted: list[Request]) -> None:
    line = ["redrive", "f.erp", "--message", "customer 1", "--rate", "300/m", "--why", "imported"]
    said = run(*line, "--force", input="y\n").output
    (request,) = submitted
    assert (request.kind, request.count, request.rate) == ("redrive", 1, 5.0)
    assert (request.force, request.why) == (True, "imported")
    assert request.selection == DeadLetterFilter(message="customer 1")
    assert "redrive 1 dead letter of f.erp? [y/N]: y" in said
    assert said.endswith(f"redrive f.{request.id}: 1 dead letter of f.erp\n")


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize(
    ("options", "input", "last"),
    [
        (["--dry-run"], "", "would discard 3 dead letters of f.erp; nothing was changed"),
        (["--dry-run", "--yes"], "", "would discard 3 dead letters of f.erp; nothing was changed"),
        ([], "n\n", "discard 3 dead letters of f.erp? [y/N]: n"),
    ],
)
def test_nothing_is_asked_for_without_a_yes(
    submitted: list[Request], options: list[str], input: str, last: str
) -> None:
    assert run("discard", "f.erp", *options, input=input).output.splitlines()[-1] == last
    assert submitted == []


def test_letters_of_a_source_are_discarded_before_it_returns(
    submitted: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    queue: Any = Queue()
    shop = DeadLetters(Backbone(), Target("f", "shop"), True, queue)
    monkeypatch.setattr("trunkline.cli.dlq.open_dead_letters", lambda backbone, target: shop)
    said = run("discard", "f.shop", "--yes", "--limit", "2").output
    assert said.endswith("discarded 2 dead letters of f.shop\n")
    assert submitted[0].limit == 2
    assert "is a source" in str(run("redrive", "f.shop", "--yes").exception)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["show", "f.erp", "seven"], "'seven': write PARTITION/OFFSET"),
        (["show", "f.erp", "1/"], "write PARTITION/OFFSET"),
        (["redrive", "f.erp", "--rate", "fast"], "'fast' is not a rate"),
        (["group", "erp"], "write FLOW.DESTINATION"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_asked(line: list[str], message: str) -> None:
    failed = run(*line)
    assert isinstance(failed.exception, ConfigurationError)
    assert message in str(failed.exception)
