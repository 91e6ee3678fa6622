"""Enrichment: what another system knows is added to a destination's messages, before its sink.

In come a call's events, as they are in the inbox; out goes ``enricher.Enriched``: the events that
the sink is to get, those that are dropped, and the errors of the others. ``enricher`` calls the
flow's function, with ``clients`` that it opens and closes and a ``cache`` of answers; ``errors``
says what an error of it means. The delivery step calls it, between reading a call's events and
giving them to the sink, in the event loop; what follows from an error is decided there.
"""
