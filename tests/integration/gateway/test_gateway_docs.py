"""The pages about operations and the gateway, carried out: the flow that one shows, called with the
commands of the other."""

from __future__ import annotations

import os
import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from docs_pages import ROOT, blocks_of
from gateway_kit import GatewayProcess, System, client_key, wait_ready
from trunkline.params import Backbone
from worker_kit import Workers, environ_of

PAGE = ROOT / "docs" / "gateway.md"
SHOWN = "http://127.0.0.1:8080"


def examples() -> list[tuple[str, str]]:
    """Each command of curl, and the status line that the page shows under it."""
    blocks = blocks_of(PAGE)
    return [
        (one.text, after.text.strip())
        for one, after in pairwise(blocks)
        if one.text.startswith("curl ")
    ]


def test_each_command_is_answered_as_the_page_says(
    bootstrap: str,
    registry_url: str,
    tmp_path: Path,
    topic: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = ROOT / "docs" / "operations-of-systems.md"
    flow = next(block for block in blocks_of(page) if block.title == "erp.py")
    assert len(examples()) == 5
    name = topic("erp-desk")  # type: ignore[operator]
    file, access = tmp_path / "erp.py", tmp_path / "access.toml"
    file.write_text(flow.text.replace('"erp-desk"', f'"{name}"'))
    key = client_key(access, "crm", "erp/*")
    backbone = Backbone(bootstrap=bootstrap, registry=registry_url)
    with System() as erp:
        environ = environ_of(backbone, erp_url=erp.url, erp_token="secret")
        with (
            Workers(file, tmp_path, environ) as workers,
            GatewayProcess(file, access, environ, tmp_path / "gateway.log") as gateway,
        ):
            workers.started("deliver")
            wait_ready(gateway)
            for command, status in examples():
                done = subprocess.run(
                    ["bash", "-c", command.replace(SHOWN, gateway.url)],
                    env={**os.environ, "KEY": key},
                    capture_output=True,
                    text=True,
                    check=True,
                )
                said = re.sub(r" .*", "", done.stdout.splitlines()[0].partition(" ")[2])
                assert said == status.split()[1], done.stdout
            gateway.stop()
            workers.stop()
    assert {seen.path for seen in erp.seen} >= {"/orders/o-7"}
