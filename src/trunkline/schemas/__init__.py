"""Avro: Python types and their schemas, values to bytes and back, and the registry.

``types`` knows the schema of each generated type (``schemas/<domain>.py``, made by ``generate``),
``registry`` asks a schema registry for ids and schemas, and ``codec`` makes of both the functions
that encode and decode values: ``exact`` for any value, ``compiled`` for the usual ones in a
fraction of the time. ``plain`` reads the JSON that people write. ``avro`` knows the parts of a
schema, which fastavro parses. Steps encode and decode in the event loop and in sources' threads;
only ``Codec.prefetch_schemas`` and ``ask_for_schemas`` ask the registry while they run, in a
thread, so that decoding never waits.
"""
