"""This machine: versions, room on its disk, ports."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import packages_distributions, requires, version
from pathlib import Path
from typing import Any

import confluent_kafka

from trunkline.admin.doctor.diagnosis import Diagnosis
from trunkline.connectors.reaching import taken
from trunkline.params import Backbone
from trunkline.streams.flow.definition import Flow

AREA = "machine"
FREE_TOLD, FREE_WRONG = 2_000_000_000, 200_000_000
"""Bytes that are free from which down it is told, and is wrong."""


def examine_machine(
    backbone: Backbone, flows: Sequence[Flow[Any]], port: int
) -> Iterator[Diagnosis]:
    """Room for the tables of these flows, and whether the port of the health pages is free."""
    if any(table.store == "disk" for flow in flows for table in flow.tables):
        yield from disk(Path(backbone.data))
    if port:
        why = taken("127.0.0.1", port)
        if why:
            what = f"port {port} of the health pages is not free: {why}"
            mend = "fine if a worker runs here; else stop who has it, or give another --port"
            yield Diagnosis(AREA, what, "warning", mend)
        else:
            yield Diagnosis(AREA, f"port {port} is free")


def disk(folder: Path) -> Iterator[Diagnosis]:
    """The folder of tables: whether it can be written, and how much room there is."""
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    mend = "make room, or set data in [trunkline] to a folder elsewhere"
    if not os.access(there, os.W_OK | os.X_OK):
        yield Diagnosis(AREA, f"{there} cannot be written: tables stand in {folder}", "wrong", mend)
        return
    free = shutil.disk_usage(there).free
    what = f"{free / 1e9:,.1f} GB are free for tables in {folder}"
    verdict = "wrong" if free < FREE_WRONG else "warning" if free < FREE_TOLD else "ok"
    yield Diagnosis(AREA, what, verdict, "" if verdict == "ok" else mend)  # type: ignore[arg-type]


def versions() -> Diagnosis:
    """What runs here; of the optional drivers those that these flows have loaded."""
    extras = re.findall(
        r"^([\w.-]+)[^;]*;.*extra ==", "\n".join(requires("trunkline") or ()), re.MULTILINE
    )
    named = {_plain(name) for name in extras}
    tops = {name.partition(".")[0] for name in sys.modules}
    loaded = {
        dist
        for module, dists in packages_distributions().items()
        if module in tops
        for dist in dists
        if _plain(dist) in named
    }
    drivers = [f"{name} {version(name)}" for name in sorted(loaded)]
    return Diagnosis(AREA, ", ".join([*core_versions(), *drivers]))


def core_versions() -> list[str]:
    """What everything depends on, each with its version."""
    return [
        f"trunkline {version('trunkline')}",
        f"Python {platform.python_version()}",
        f"confluent-kafka {confluent_kafka.version()}",
        f"librdkafka {confluent_kafka.libversion()[0]}",
    ]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
