"""The events of an inbox and of its retry tiers go to a sink: the step that meets other systems.

In come records of these topics; out go calls of the sink, and then the offsets of what is
completed, with retry records and dead letters in one transaction. ``step`` ties it together in the
event loop, where all decisions are made: so nothing here needs a lock against threads. Around it,
partitions are restored when they are assigned, events are sent by several senders, the outcome of
each call is judged and followed up, and a committer writes what is completed in a thread of its
own. In which order a key's events go is the matter of ``retry``, and whether anything may be sent
now that of ``admission``.
"""
