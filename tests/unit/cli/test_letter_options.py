"""Which dead letters the options of ``trunkline dlq`` mean."""

from __future__ import annotations

from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from trunkline.cli import app
from trunkline.cli.dlq import dlq_app
from trunkline.cli.letter_options import selected, selects_letters
from trunkline.errors import ConfigurationError
from trunkline.streams.dlq.letters import DeadLetterFilter

FILTERS = {"since", "until", "key", "error", "cause", "message", "header"}


def test_a_command_gets_the_filter_as_one_argument() -> None:
    got: list[Any] = []
    small = typer.Typer()

    @small.command()
    @selects_letters
    def look(queue: str, selection: DeadLetterFilter, limit: int = 7) -> None:
        """Look at letters."""
        got.extend((queue, selection, limit))

    line = ["f.erp", "--key", "k1", "--error", "Rejected", "--cause", "98d4", "--message", "no"]
    line += ["--header", "ce_id=1", "--header", "ce_type=a=b", "--since", "2026-01-01T12:00Z"]
    assert CliRunner().invoke(small, line).exit_code == 0
    assert got == [
        "f.erp",
        DeadLetterFilter(
            since="2026-01-01T12:00:00+00:00",
            key="k1",
            error="Rejected",
            cause="98d4",
            message="no",
            header={"ce_id": "1", "ce_type": "a=b"},
        ),
        7,
    ]


def test_an_empty_value_means_letters_without_the_header() -> None:
    assert selected(header=["ce_type="]).header == {"ce_type": ""}


def test_without_options_all_are_meant() -> None:
    assert selected() == DeadLetterFilter()


@pytest.mark.parametrize("command", ["list", "group", "redrive", "discard"])
def test_each_command_on_several_letters_has_the_same_filters(command: str) -> None:
    commands: Any = typer.main.get_command(dlq_app)
    options = commands.commands[command].params
    assert {option.name for option in options} >= FILTERS


@pytest.mark.parametrize("text", ["ce_type", "=x"])
def test_a_header_needs_its_value(text: str) -> None:
    with pytest.raises(ConfigurationError, match="write NAME=VALUE"):
        selected(header=[text])


def test_a_time_is_checked_before_anything_is_asked() -> None:
    failed = CliRunner().invoke(app, ["dlq", "list", "f.erp", "--since", "yesterday"])
    assert isinstance(failed.exception, ConfigurationError)
    assert "'yesterday' is no time" in str(failed.exception)
