"""The control topic of a flow: what operators ask for, what workers tell, and who did what.

In come records of commands and workers; out goes the newest value of each key, to whoever follows
it. ``topic`` reads it in a thread and calls its followers in the event loop; ``records`` has the
keys, ``status`` is how a destination is in one worker. ``audit`` is the topic beside it, in which
every command stands for ever. ``clients`` are those that the flows of one process share.
"""
