"""What users write: flows, sources, topics, routes, destinations and their policies, as values.

In comes a flow's file, which ``loading`` imports; out go ``definition.Flow`` with all that was
declared, the policies of its destinations (``policy`` and a module for each part of one), and the
``problems`` that were found on the way, with file and line. Nothing here connects or runs: the
commands and a worker's start-up call it, in their own thread, before any loop begins. It imports no
other room, so importing a flow loads no engine.
"""
