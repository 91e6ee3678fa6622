"""Past events, and dead letters, go to one destination's inbox again.

In come requests of the control topic (``request``), as commands write them; out go inbox records
and how far each partition is, in the transactions of the routing step. ``step`` runs in the event
loop of every worker that routes, and the routing step tells it what is assigned and committed:
``registry`` knows the requests and which jobs follow from them, ``scheduler`` begins and ends these
jobs, ``factory`` makes them. A job is one partition's part in a request: ``replay_job`` for
canonical events, ``redrive_job`` for dead letters (``verdicts``: what becomes of each; ``marks``:
which are handled), ``completion_job`` when all partitions are done. ``latest`` is what keeps an
older state from following a newer one. What is past is read in a thread of its own beside live
traffic (``kafka/range_reader.py``); everything else here is for the event loop.
"""
