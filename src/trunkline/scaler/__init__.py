"""KEDA's external scaler: when the workers of a step must run, and how many are of use.

Flows come in, whose definitions say what a step reads and when its destination may be sent to. A
thread (``reader``) looks at Kafka every two seconds: how far the groups are, what waits in inboxes,
retry topics and canonical topics, what operators command and workers tell in the control topics. It
hands what it found to the event loop (``watch``), where every answer comes from memory, and a tick
four times a second notices when something becomes due. Nothing is written to Kafka.

    Kafka ── reader ──▶ backlog (partitions) ──▶ work ──▶ facts
                            holds · capacity ───────────────┘│
    KEDA ◀── service (gRPC) ◀── watch ◀── demand (facts, now)┘

``demand`` is where it is decided, without I/O and with the time as an argument. ``server`` is the
process, which ``trunkline scaler`` runs; ``keda/`` is KEDA's protocol.
"""
