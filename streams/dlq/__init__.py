"""Dead letters: how they are written, read again, grouped by cause, and counted as handled.

In come an event and its error, from whichever step gives the event up; ``envelope`` makes the
record that the step writes, in its own transaction and event loop. Out come, for the commands, the
letters of a queue: ``queue`` reads them in the caller's thread and blocks, ``letters`` is one of
them with the filter that selects some, ``causes`` and ``cause_groups`` say which ones died of the
same. ``handled`` and ``halted`` are what the control topic keeps about them, for workers and
commands alike: which are re-driven or discarded, and what was decided about an event that halts its
key. Who sends them again is the room ``replay``.
"""
