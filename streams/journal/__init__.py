"""How each call of an operation stands: a destination's topic ``.calls``, one record a call.

``record`` is a call's state and its form in the topic; ``journal`` is what the delivery step keeps
of it: in come events that are calls and what became of them, out go records, which the step writes
in the transaction that counts the event as completed. So what the topic says has happened. Gateways
read it: it is the answer, the status and the memory of repeated calls in one. Called in the event
loop; when partitions are assigned, in the poll loop's thread.
"""
