"""The quickstart as a newcomer does it: every file saved, every command run, every output read."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs_pages import ROOT, blocks_of
from trunkline.local.ports import free_port
from trunkline.local.stack import Endpoints
from walk_kit import Reader, reader_environ

QUICKSTART = blocks_of(ROOT / "docs" / "quickstart.md")
ELSEWHERE = ("make setup", ". .venv", "mkdir ", "trunkline up", "trunkline down")
"""Commands that make what this test has already: an environment, a folder, the servers."""


@pytest.fixture
def newcomer(tmp_path: Path, stack: Endpoints) -> Iterator[Reader]:
    """Follows the page in a folder of its own; ports and topics are of this run alone."""
    shop = free_port()
    instead = {
        r"localhost:8085\b": f"localhost:{shop}",
        r"\bquickstart\b": f"quickstart-{uuid.uuid4().hex[:8]}",
    }
    environ = {
        **reader_environ(),
        "TRUNKLINE_BOOTSTRAP": stack.bootstrap,
        "TRUNKLINE_REGISTRY": stack.registry,
        "TRUNKLINE_PARAMS_SHOP_PORT": str(shop),
    }
    with Reader(tmp_path, free_port(), instead, ELSEWHERE, environ).reading() as reader:
        yield reader


def test_the_quickstart(newcomer: Reader) -> None:
    newcomer.follow(QUICKSTART)
    dead_letter = newcomer.do(next(block for block in QUICKSTART if "dlq show" in block.text))
    assert dead_letter.rstrip().endswith("KeyError: 'status'")
    assert "tl_stage: publish" in dead_letter
    newcomer.stop()
