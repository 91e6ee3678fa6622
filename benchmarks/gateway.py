"""The gateway job: what the way through Kafka costs a caller, beside a plain reverse proxy.

One gateway and one worker, before an API that answers at once: calls of one caller, and of a
hundred at a time. The proxy is Debian's nginx, which hands each request on and does nothing else.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx

from benchmarks.errors import FAILURES, BenchmarkError, Skipped
from benchmarks.measure import Meter, percentile
from benchmarks.report import Report
from benchmarks.servers import Servers, servers, trunkline
from benchmarks.system import ROOT, Program
from trunkline.access.file import AccessEditor
from trunkline.access.keys import new_key
from trunkline.local.ports import free_port

SECONDS, MANY = 20.0, 100
OURS, PEER = "trunkline gateway", "nginx"
UNITS = {
    "p50_ms": "ms",
    "p99_ms": "ms",
    "calls_per_s": "1/s",
    "many_p50_ms": "ms",
    "many_p99_ms": "ms",
    "cpu_us_per_call": "µs",
    "others_cores": "cores",
    "rss_mb": "MB",
}
NGINX = """
daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log;
events {{ worker_connections 2000; }}
http {{
    access_log off; keepalive_requests 100000000;
    client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
    upstream api {{ server 127.0.0.1:{api}; keepalive 200; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://api; proxy_http_version 1.1;
                      proxy_set_header Connection ""; }}
    }}
}}
"""


def run(*, scale: float, only: str) -> Report:
    """Measure both. ``scale``: of the seconds of each part; ``only``: as everywhere."""
    seconds = max(3.0, SECONDS * scale)
    report = Report("gateway", f"Gateway: one caller, and {MANY} at a time, {seconds:.0f} s each")
    with servers() as at, tempfile.TemporaryDirectory(prefix="trunkline-bench-") as home:
        for name, measured in ((OURS, _ours), (PEER, _nginx)):
            if only.lower() not in name.lower():
                continue
            try:
                report.add(name, UNITS, **measured(at, Path(home), seconds))
            except FAILURES as problem:
                report.skip(name, "p50_ms", problem)
    return report


def _ours(at: Servers, home: Path, seconds: float) -> dict[str, float]:
    key, port = new_key(), free_port()
    AccessEditor(home / "access.toml").add_key("bench", key, now=datetime.now(UTC))
    AccessEditor(home / "access.toml").allow("bench", "*/*")
    flow = ROOT / "benchmarks" / "flows" / "desk.py"
    gateway = [sys.executable, "-m", "trunkline.cli", "gateway", str(flow), "--port", str(port)]
    gateway += ["--access", str(home / "access.toml")]
    with _api(at) as api:
        environment = at.environment(API=f"http://127.0.0.1:{api}")
        worker = trunkline("desk", "--only", "deliver")
        with (
            Program(worker, at.logs / "gateway-worker.log", environment) as delivers,
            Program(gateway, at.logs / "gateway.log", environment) as program,
            Meter(system=program.pid, worker=delivers.pid, **at.pids) as meter,
        ):
            _wait(f"http://127.0.0.1:{port}/readyz", program)
            _wait(worker_page(worker), delivers)
            path = "/v1/systems/erp/operations/correct_order"
            return _measured(meter, ("system", "worker"), port, path, key.text, seconds)


def worker_page(command: list[str]) -> str:
    """The readiness page of a worker, by its command."""
    return f"http://127.0.0.1:{command[command.index('--port') + 1]}/readyz"


def _nginx(at: Servers, home: Path, seconds: float) -> dict[str, float]:
    program, port = nginx(home), free_port()
    with _api(at) as api:
        file = home / "nginx.conf"
        file.write_text(NGINX.format(home=home, api=api, port=port))
        command = [program, "-p", str(home), "-c", str(file), "-e", str(home / "error.log")]
        with (
            Program(command, at.logs / "gateway-nginx.log") as running,
            Meter(system=running.pid, **at.pids) as meter,
        ):
            _wait(f"http://127.0.0.1:{port}/", running)
            return _measured(meter, ("system",), port, "/orders/{id}", "none", seconds)


def nginx(home: Path) -> str:
    """The machine's own, or else Debian's package, unpacked without root. Raises Skipped."""
    if found := shutil.which("nginx"):
        return found
    try:
        download = ["apt-get", "-qq", "download", "nginx"]
        subprocess.run(download, cwd=home, check=True, capture_output=True)
        for package in home.glob("nginx*.deb"):
            subprocess.run(["dpkg", "-x", package, home / "nginx"], check=True)
        program = home / "nginx" / "usr" / "sbin" / "nginx"
        subprocess.run([program, "-v"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Skipped(f"there is no nginx, and Debian's cannot be had: {error}") from error
    return str(program)


@contextmanager
def _api(at: Servers) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.quick_api", str(port)]
    with Program(command, at.logs / "gateway-api.log") as program:
        _wait(f"http://127.0.0.1:{port}/", program)
        yield port


def _measured(
    meter: Meter, systems: tuple[str, ...], port: int, path: str, key: str, seconds: float
) -> dict[str, float]:
    one, _, _ = _called(port, path, key, 1, seconds)
    many, begin, end = _called(port, path, key, MANY, seconds)
    cpu = sum(meter.cpu(system, begin, end) for system in systems)
    return {
        "p50_ms": percentile(one, 0.5) * 1000,
        "p99_ms": percentile(one, 0.99) * 1000,
        "calls_per_s": len(many) / seconds,
        "many_p50_ms": percentile(many, 0.5) * 1000,
        "many_p99_ms": percentile(many, 0.99) * 1000,
        "cpu_us_per_call": cpu / len(many) * 1e6 * seconds / (end - begin),
        "others_cores": meter.others(begin, end) / (end - begin),
        "rss_mb": sum(meter.peak_mb(system, begin, end) for system in systems),
    }


def _called(
    port: int, path: str, key: str, callers: int, seconds: float
) -> tuple[list[float], float, float]:
    """The latencies of all calls, and when they began and ended."""
    command = [sys.executable, "-m", "benchmarks.caller", str(port), path, key]
    begin = time.time()
    done = subprocess.run(
        [*command, str(callers), str(seconds)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchmarkError(f"the callers failed: {done.stderr.strip().splitlines()[-1:]}")
    found: list[float] = json.loads(done.stdout)["latencies"]
    return found, begin, time.time()


def _wait(page: str, program: Program) -> None:
    until = time.monotonic() + 120
    with ExitStack() as stack:
        client = stack.enter_context(httpx.Client(timeout=5))
        while True:
            program.alive()
            try:
                if client.get(page).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if time.monotonic() > until:
                raise BenchmarkError(f"{page} is not there; see {program.log}")
            time.sleep(0.1)
