"""What operators do to running flows, as functions: the command line calls them, and so may you.

In come the backbone's addresses and what is meant; out go records in the flow's control and audit
topics, written in one transaction, or what these topics tell. ``targets`` finds out which
destination is meant, ``destinations`` pauses and shows one, ``dead_letters`` and ``replays`` have
events sent again, ``audit`` says who did what. Workers do what is asked for; nothing here waits for
them. All functions block: call them outside an event loop, or in a thread.
"""
