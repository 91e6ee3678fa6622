"""Whether there are traces: nothing of OpenTelemetry is needed where nobody asks for them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trunkline.errors import MissingExtra
from trunkline.params import Backbone
from trunkline.streams.metrics import Metrics
from trunkline.streams.tracing.setup import traces_of

LOADED = """
import sys
import trunkline.streams.worker.process
import trunkline.streams.tracing.setup
print([name for name in sys.modules if "opentelemetry" in name])
"""


def test_a_worker_loads_nothing_of_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert traces_of(Backbone(), Metrics()) is None


def test_who_wants_traces_without_the_extra_is_told_which(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("trunkline.streams.tracing.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(MissingExtra, match=r"pip install 'trunkline\[otel\]'"):
        traces_of(Backbone(traces="http://127.0.0.1:4318"), Metrics())


@pytest.mark.parametrize("ratio", [-0.1, 1.1])
def test_a_ratio_is_a_share(ratio: float) -> None:
    with pytest.raises(ValueError, match="traces_ratio"):
        Backbone(traces_ratio=ratio)


@pytest.mark.parametrize("address", ["collector:4318", "grpc://collector", "http://u:p@collector"])
def test_the_address_of_a_collector_is_a_whole_one_without_secrets(address: str) -> None:
    with pytest.raises(ValueError, match="as http://collector:4318") as raised:
        Backbone(traces=address)
    assert "u:p" not in str(raised.value)
