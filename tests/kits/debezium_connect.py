"""A real Debezium for tests: its PostgreSQL connector in a Kafka Connect worker of its own."""

from __future__ import annotations

import os
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import debezium
from benchmarks.errors import Skipped
from benchmarks.servers import Servers
from benchmarks.topics import Topics
from trunkline.local.stack import Endpoints

SETTINGS = {
    "provide.transaction.metadata": "true",
    "skipped.operations": "none",
    "poll.interval.ms": "50",
    "decimal.handling.mode": "precise",
    "topic.creation.default.partitions": "1",
    "topic.creation.default.replication.factor": "1",
}
# In Confluent's wire format, and with the ids that the registry's Confluent API knows.
AVRO = {
    f"{part}.converter.apicurio.registry.{name}": value
    for part in ("key", "value")
    for name, value in (
        ("as-confluent", "true"),
        ("use-id", "contentId"),
        ("headers.enabled", "false"),
    )
}
SCHEMAS = {f"{part}.converter.schemas.enable": "true" for part in ("key", "value")}


def _load_by_manifest(worker_settings: Path) -> None:
    """Have Connect read which plugins there are: else it tries every class of every jar, which
    takes it half a minute. Apicurio's converter has no manifest, so it gets one."""
    with worker_settings.open("a") as settings:
        settings.write("plugin.discovery=service_load\n")
    manifest = worker_settings.parent / "plugins" / "avro" / "manifest.jar"
    with zipfile.ZipFile(manifest, "w") as jar:
        converter = "io.apicurio.registry.utils.converter.AvroConverter\n"
        jar.writestr("META-INF/services/org.apache.kafka.connect.storage.Converter", converter)


@contextmanager
def running(stack: Endpoints, dsn: str, table: str, home: Path) -> Iterator[dict[str, str]]:
    """Debezium reads a table twice, into topics in JSON with schemas and in Avro; the prefixes of
    their names, by format. Skips without network, but never in CI."""
    at = Servers(stack.bootstrap, stack.registry, dsn, {}, home, Topics(stack.bootstrap))
    unique = home.name.replace("-", "_")
    prefixes = {form: f"dbz_{form}_{unique}" for form in ("json", "avro")}
    more = {**SETTINGS, "table.include.list": table}
    try:
        command, *others = [
            debezium.command(
                prefix, at, avro=form == "avro", more=more | (AVRO if form == "avro" else SCHEMAS)
            )
            for form, prefix in prefixes.items()
        ]
    except Skipped as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no Debezium: {error}")
    command += [other[-1] for other in others]  # one worker, two connectors
    command = ["-Xmx512m" if part == "-Xmx2G" else part for part in command]
    _load_by_manifest(Path(command[-3]))
    log = home / "connect.log"
    with log.open("wb") as output:
        worker = subprocess.Popen(command, stdout=output, stderr=output, cwd=home)
        try:
            yield prefixes
            assert worker.poll() is None, f"Connect ended:\n{log.read_text()[-4000:]}"
        finally:
            worker.terminate()
            worker.wait(30)
