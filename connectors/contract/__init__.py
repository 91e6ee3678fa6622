"""The acceptance suite for anyone's connector: it is done when it passes.

In a test file, subclass ``SinkContract``, ``SourceContract`` or ``PushSourceContract`` under a name
that begins with ``Test``, and give what the class asks for: how to make the connector, and a way to
look into the system behind it. Run it with pytest, against the real system.

    class TestWarehouse(SinkContract):
        def sink(self) -> Sink[Any]: ...
        def contents(self) -> dict[str, int]: ...
        def unreachable_sink(self) -> Sink[Any]: ...

The suite runs under pytest (extra ``dev``); importing it does not need it.
"""

from trunkline.connectors.contract.push import PushSourceContract
from trunkline.connectors.contract.sinks import SinkContract
from trunkline.connectors.contract.sources import SourceContract
from trunkline.connectors.contract.tools import make_event

__all__ = ["PushSourceContract", "SinkContract", "SourceContract", "make_event"]
