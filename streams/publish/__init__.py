"""A source's records become canonical events: the first step of the way.

In come records with positions; out go events, the source's position and its dead letters, in one
transaction. ``source_step`` runs a source that reads: the connector's ``read`` and the topic's
function in a thread of the source's own, transactions in another, so that reading goes on
meanwhile; ``source_group`` says in which worker, and shares a flow's sources evenly among them;
``stored_position`` is where it stands; ``source_watch`` asks its system, beside the
reading, what threatens it. ``push_step`` runs a source that is called, in the event loop, and
answers its caller when Kafka has acknowledged. ``publisher`` makes the events for both, and does no
I/O. ``publishers`` warns of another flow that publishes the same topic.
"""
