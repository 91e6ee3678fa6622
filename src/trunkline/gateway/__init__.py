"""The gateway: one HTTP door to the operations of all systems.

It authenticates, validates, writes to Kafka and waits; it never calls a system, and holds no
credentials of one. ``server`` runs ``app`` (the URLs) on uvicorn; ``catalog`` knows the operations
of the flows, ``writer`` puts a call into its destination's inbox, ``tail`` follows what workers say
of all calls into ``book``, which keeps those that are not new on disk (``shelf``), ``calls`` puts
the three together, ``aliases`` are URLs by resource, ``preview`` shows a call that is not made,
``availability`` is what workers say of their destinations, ``queries`` asks what only reads,
``events`` are what systems publish by HTTP, ``identity`` knows who calls and ``quota`` how much of
it, ``decisions`` are what people make of calls, ``answers`` makes HTTP of a call's state and
``problems`` of what is wrong. Everything runs in one event loop, but ``tail``, which reads Kafka in
a thread of its own, bodies that are large, and the delivery reports of ``writer``. Replicas meet in
topics alone.
"""
