"""What the Dockerfiles promise, read from their lines: no Docker is needed for that."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from docs_pages import ROOT

FOLDER = ROOT / "deploy" / "docker"
IMAGE, FLOWS = FOLDER / "Dockerfile", FOLDER / "flows.Dockerfile"


def instructions(file: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", file.read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.split(None, 1)[1]) for line in lines if line.strip()]


@pytest.mark.parametrize("file", [IMAGE, FLOWS], ids=lambda file: file.name)
def test_the_base_is_an_argument_so_that_a_digest_can_name_it(file: Path) -> None:
    found = instructions(file)
    arguments = {text.partition("=")[0] for word, text in found if word == "ARG"}
    bases = {text.split()[0] for word, text in found if word == "FROM"}
    assert bases <= {f"${{{argument}}}" for argument in arguments}


def test_the_image_runs_as_nobody_who_may_do_anything() -> None:
    found = instructions(IMAGE)
    assert [text for word, text in found if word == "USER"] == ["10001:10001"]
    assert dict(found)["ENTRYPOINT"] == '["trunkline"]'  # no shell between SIGTERM and the worker
    assert not [text for word, text in found if word in ("ADD", "VOLUME", "HEALTHCHECK")]


def test_what_is_copied_is_there_and_gets_through_dockerignore() -> None:
    kept = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    for word, text in instructions(IMAGE):
        if word == "COPY" and not text.startswith("--from"):
            *sources, _ = shlex.split(text)
            for source in sources:
                assert (ROOT / source).exists(), source
                assert source.rstrip("/") in kept, source
