"""When a failed event comes again, and in which order the events of its key go.

In come events that are read, sent, done or failed, and the clock; out go decisions. The delivery
step calls it in the event loop. Nothing here does I/O, so the tests of its state machine drive it
through any order of events. ``tiers`` knows the retry topics, ``key_order`` is the order of a key
through them.
"""
