"""What flows need of a cluster, what differs there, and what they left.

``topics`` says which topics with how many partitions and settings, from definitions alone, and
``needs`` what all flows of an environment need together. ``differences`` compares that with what
is there (``resources``), and refuses what would break order or lose events; ``saved`` has a plan as
a file; ``acls`` has the rights of each step and operator. All of these are pure:
``trunkline.admin.planning`` looks, and makes it so.

``orphans`` finds events that wait in retry topics which the flow no longer reads, because a delay
was taken out of a policy; it asks Kafka, and blocks. The start of a worker calls ``topics`` and
``orphans`` in the main thread, and refuses to run rather than forget an event.
"""
