"""Tests of flows without a broker, in virtual time: ``FlowTest``.

It runs the engine's own steps (``worker``) in one event loop whose clock jumps (``loop``), so there
are no threads and no waiting. What stands for something: ``topics`` and ``log`` for Kafka,
``registry`` for the schema registry, ``calls`` for the gateway, ``control`` for the control topic,
``script`` for a destination's system, ``standing`` for parameters. ``waits`` shows what is not
finished. All but ``FlowTest`` and ``Script`` is for tests of the engine itself.
"""

from trunkline.testing.flowtest import FlowTest
from trunkline.testing.log import MemoryBroker, MemoryConsumer
from trunkline.testing.loop import VirtualLoop
from trunkline.testing.registry import MemoryRegistry
from trunkline.testing.script import Answer, Attempt, Script, ScriptedSink
from trunkline.testing.topics import Topics
from trunkline.testing.waits import Wait

__all__ = [
    "Answer",
    "Attempt",
    "FlowTest",
    "MemoryBroker",
    "MemoryConsumer",
    "MemoryRegistry",
    "Script",
    "ScriptedSink",
    "Topics",
    "VirtualLoop",
    "Wait",
]
