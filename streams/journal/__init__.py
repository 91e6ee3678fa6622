"""How each call of an operation stands: a destination's topic ``.calls``, one record a call.

``record`` is a call's state and its form in the topic; ``journal`` is what the delivery step keeps
of it: in come events that are calls and what became of them, out go records, which the step writes
in the transaction that counts the event as completed. ``over`` knows those of a day that are over,
on disk. ``follower`` reads what gateways write there: calls that they accept, of which the
journal ends those whose time is over (``unanswered``), and what people decide. ``doubt``: what an
attempt can be beside done and failed; ``reply``: what came of a query; ``words``: what a caller is
told. So what the topic says has happened. Gateways read it: it is the answer, the status and the
memory of repeated calls in one. Called in the event loop; when partitions are assigned, in the poll
loop's thread.
"""
