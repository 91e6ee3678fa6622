"""Past events, and dead letters, go to one destination's inbox again.

In come requests of the control topic, as commands write them; out go inbox records and how far each
partition is, in the transactions of the routing step. ``step`` watches the requests in the event
loop of every worker that routes, and runs a job for each partition that this worker has:
``replay_job`` for canonical events, ``redrive_job`` for dead letters, ``completion_job`` when all
partitions are done. What is past is read in a thread beside live traffic.
"""
