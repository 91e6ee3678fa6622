"""Who may import whom: the contracts hold, and each of them notices what breaks it.

The packages are links, so a checker that does not follow them would find nothing wrong, ever.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

BREACHES = {
    "streams/flow/retry.py": "import faust",
    "streams/flow/graph.py": "from trunkline.connectors.http import HttpSink",
    "streams/retry/key_queues.py": "from trunkline.local.stack import Stack",
    "connectors/http/sink.py": "from confluent_kafka import Producer",
    "connectors/json_values.py": "from trunkline.streams.flow.definition import Flow",
    "connectors/debezium/envelope.py": "from confluent_kafka import Producer",
    "connectors/kafka/cluster.py": "from trunkline.streams.flow.definition import Flow",
    "connectors/base.py": "from trunkline.kafka import ProducerRecord",
    "src/trunkline/admin/status.py": "from trunkline.scaler.demand import Facts",
    "src/trunkline/event.py": "from trunkline.schemas.types import has_schema",
    "src/trunkline/local/ports.py": "from trunkline.cli import app",
}


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    """import-linter over the sources below ``root``."""
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources, links and contracts, to be broken one at a time."""
    root = tmp_path_factory.mktemp("house")
    for name in ("src", "streams", "connectors", "avro_schemas"):
        shutil.copytree(ROOT / name, root / name, symlinks=True)
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


def test_the_contracts_hold_in_a_copy_as_here(copied: Path) -> None:
    for root in (ROOT, copied):
        done = lint(root)
        assert done.returncode == 0, done.stdout
        assert "0 broken" in done.stdout


@pytest.mark.parametrize(("file", "line"), BREACHES.items())
def test_a_breach_is_noticed(copied: Path, file: str, line: str) -> None:
    sound = (copied / file).read_text()
    (copied / file).write_text(f"{sound}\n{line}\n")
    done = lint(copied)
    (copied / file).write_text(sound)
    assert done.returncode == 1, f"{file}: {line} was not noticed:\n{done.stdout}"
    assert re.search(r"[1-9] broken", done.stdout), done.stdout


def test_commands_start_without_the_engine() -> None:
    """Faust and what it brings are nearly half of all that commands would import."""
    code = "import sys, trunkline.cli; print({'faust', 'aiohttp', 'grpc'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"
