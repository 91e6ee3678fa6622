"""What a flow needs of a cluster, and what it left there.

``topics`` says which topics with how many partitions and settings, from definitions alone.
``orphans`` finds events that wait in retry topics which the flow no longer reads, because a delay
was taken out of a policy; it asks Kafka, and blocks. The start of a worker calls both in the main
thread, and refuses to run rather than forget an event.
"""
