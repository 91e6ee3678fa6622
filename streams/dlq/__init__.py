"""Dead letters: how they are written, read again, grouped by cause, and counted as handled.

``envelope`` makes a record of an event and its error, for every step that gives one up. ``queue``
reads such records back for the commands and for re-drives, and blocks; ``letters`` is one of them
with the filter that selects some, ``causes`` groups those that died of the same. ``handled`` and
``halted`` are what the control topic keeps about them: which are re-driven or discarded, and what
was decided about an event that halts its key.
"""
