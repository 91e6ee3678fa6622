"""What the Dockerfiles promise, read from their lines: no Docker is needed for that."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs_pages import ROOT
from pipeline_kit import copied, instructions

FOLDER = ROOT / "deploy" / "docker"
IMAGE, FLOWS = FOLDER / "Dockerfile", FOLDER / "flows.Dockerfile"


@pytest.mark.parametrize("file", [IMAGE, FLOWS], ids=lambda file: file.name)
def test_the_base_is_an_argument_so_that_a_digest_can_name_it(file: Path) -> None:
    found = instructions(file.read_text())
    arguments = {text.partition("=")[0] for word, text in found if word == "ARG"}
    bases = {text.split()[0] for word, text in found if word == "FROM"}
    assert bases <= {f"${{{argument}}}" for argument in arguments}


def test_the_image_runs_as_nobody_who_may_do_anything() -> None:
    found = instructions(IMAGE.read_text())
    assert [text for word, text in found if word == "USER"] == ["10001:10001"]
    assert dict(found)["ENTRYPOINT"] == '["trunkline"]'  # no shell between SIGTERM and the worker
    assert not [text for word, text in found if word in ("ADD", "VOLUME", "HEALTHCHECK")]


def test_what_is_copied_is_there_and_gets_through_dockerignore() -> None:
    kept = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    for source in copied(IMAGE.read_text()):
        assert (ROOT / source).exists(), source
        assert source.rstrip("/") in kept, source
