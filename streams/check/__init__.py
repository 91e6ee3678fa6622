"""Mistakes that are found without connecting: in flows, and in the parameters of an environment.

In come definitions, out go problems with file and line, all at once. ``trunkline check`` and
``trunkline run`` call it in the main thread, before anything is built: no Kafka, no registry, no
connector. ``flows`` looks at the wiring, types and policies, ``environment`` at ``Params`` and the
table of an environment.
"""
