"""Connectors: what reads a system (a source) or writes to one (a sink), a room or a file a system.

A source gives records, a sink takes events; ``connectors/base.py`` has the contract, and
``connectors/contract`` the acceptance suite that a connector passes. The publishing step reads a
``Source`` in a thread of that source's own; a ``PushSource`` and a ``Sink`` are called in the
worker's event loop, and take a thread themselves where their driver blocks. Connectors know events
and errors, and nothing of Kafka, Faust or the engine: so they can be tested alone.
"""
