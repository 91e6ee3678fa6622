"""Limits over all workers: who may use how much of a rate, or of calls at a time.

In come the demands of all workers, out go shares, all in one topic of a backbone, which every
worker reads whole. ``client`` follows that topic in a thread of its own and hands each record to
the event loop; ``member`` and ``coordinator`` decide there and are pure, and ``leases`` says why a
limit is never exceeded. ``limiter`` is the gate that a destination's admission asks.
"""
