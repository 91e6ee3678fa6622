"""Tests of flows without a broker, in virtual time: ``FlowTest``.

The rest is what it is made of, for tests of the engine itself.
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
