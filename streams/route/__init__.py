"""Each canonical event becomes messages in the inboxes of destinations, exactly once.

In come micro-batches of canonical topics; out go inbox records, dead letters and the group's
offsets, one transaction a batch. ``router`` calls the flow's routes and is pure; ``step`` is the
life cycle, in the event loop, and hands its transactions to a thread. Replays write through the
same transactions, so that what they send stands in order with what is routed.
"""
