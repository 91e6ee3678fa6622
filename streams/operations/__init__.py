"""Calls of operations in a worker: between the delivery step and the sink of their destination.

In come a destination's events; those that are calls become the request that the flow's function
makes of them, and the system's answer goes to the journal; all others go to the sink as they are.
The delivery step calls it, in the event loop, and treats it as the sink: order per key, retries,
breaker, limits and maintenance hold for calls as for events. ``queries`` is a step of its own
beside it: what only reads goes past the inbox, has no order, and is answered in a topic of replies.
"""
