"""Where peers live: virtual environments of their own, and jars by Maven coordinates."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmarks.errors import Skipped
from benchmarks.system import ROOT

T = TypeVar("T")
PEERS = Path(__file__).with_name("peers")
VENVS = ROOT / ".venv-peers"
KAFKA = "4.1.2"
CONNECT_JARS = f"org.apache.kafka:connect-runtime:{KAFKA}"
# Resolved apart: together with Connect it would change versions of Connect's own jars.
LOGGING_JARS = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"
DEBEZIUM_JARS = "io.debezium:debezium-connector-postgres:3.4.3.Final"
DEBEZIUM_MARIADB_JARS = "io.debezium:debezium-connector-mariadb:3.4.3.Final"
CONVERTER_JARS = "io.apicurio:apicurio-registry-utils-converter:2.6.13.Final"
STREAMS_JARS = f"org.apache.kafka:kafka-streams:{KAFKA}"
AVRO_JARS = "org.apache.avro:avro:1.12.0"
PARALLEL_JARS = "io.confluent.parallelconsumer:parallel-consumer-core:0.5.3.3"
HTTP_JARS = "org.apache.httpcomponents.client5:httpclient5:5.5.1"
COMPILER_JARS = "org.eclipse.jdt:ecj:3.46.100"


def python(peer: str) -> str:
    """The interpreter of a peer's environment, made from ``peers/<peer>.txt`` if need be.

    Raises Skipped when it cannot be made, as without network.
    """
    requirements = PEERS / f"{peer}.txt"
    home = VENVS / f"{peer}-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]}"
    interpreter = home / "bin" / "python"
    if not (home / "complete").exists():
        print(f"making the environment of {peer} (first time: about a minute)", file=sys.stderr)
        venv.create(home, with_pip=True, clear=True)
        _install([str(interpreter), "-m", "pip", "install", "-q", "-r", str(requirements)], peer)
        (home / "complete").touch()
    return str(interpreter)


def jars(coordinates: str) -> list[Path]:
    """The jars of ``group:artifact:version[+…]`` with all they need. Raises Skipped."""
    return _available(lambda: _resolved(coordinates), coordinates)


def class_path(*coordinates: str) -> str:
    """A class path of all jars of these. Raises Skipped."""
    return os.pathsep.join(str(jar) for c in coordinates for jar in jars(c))


def java() -> str:
    """The Java runtime of the local stack. Raises Skipped without one."""
    from trunkline.local.server import java

    return _available(java, "Java")


def streams_command() -> list[str]:
    """Kafka Streams' route program, compiled if need be. Raises Skipped without Java."""
    return _java_program("RouteStreams", class_path(STREAMS_JARS, AVRO_JARS, LOGGING_JARS))


def parallel_command() -> list[str]:
    """Parallel Consumer's deliver program, compiled if need be. Raises Skipped without Java."""
    return _java_program("DeliverParallel", class_path(PARALLEL_JARS, HTTP_JARS))


def _java_program(name: str, libraries: str) -> list[str]:
    source = PEERS / f"{name}.java"
    classes = VENVS / f"{name}-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
    if not (classes / f"{name}.class").exists():
        # Eclipse's compiler, as a Java runtime alone has none.
        compiler = [java(), "-jar", str(jars(COMPILER_JARS)[0]), "-source", "17", "-target", "17"]
        _compile([*compiler, "-cp", libraries, "-d", str(classes), str(source)])
    return [java(), "-cp", os.pathsep.join([str(classes), libraries]), name]


def _compile(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Skipped(f"the compiler refuses: {done.stderr}")


def _resolved(coordinates: str) -> list[Path]:
    import jgo

    from trunkline.local.artifacts import cache_dir

    return sorted(jgo.build(coordinates, cache_dir=cache_dir() / "benchmarks").all_jars)


def _available(get: Callable[[], T], what: str) -> T:
    try:
        return get()
    except Exception as error:  # whatever the resolver raises: the run goes on without this peer
        raise Skipped(f"{what} cannot be had: {error}") from error


def _install(command: list[str], peer: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Skipped(f"pip cannot install {peer}: {done.stderr.strip().splitlines()[-1]}")
