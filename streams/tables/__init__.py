"""Tables: the newest value per key of canonical topics, which routes of this worker look up.

In come the records of a topic, read whole by each worker; out go look-ups, by key and by a field.
``table_set`` groups a flow's tables by topic and makes what routes are given (``lookup``);
``writer`` turns records into changes of a store, ``memory`` or ``disk``; ``reader`` follows a topic
in a thread of its own, and ``step`` begins with them and says when all have caught up. Routes look
up in the event loop while readers write, so a store can be read during a write.
"""
