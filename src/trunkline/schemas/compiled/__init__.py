"""Readers and writers that are generated from a schema when a worker starts, for speed.

``reader`` and ``writer`` take a schema and give a function for its values, whose source ``source``
puts together. They do what ``exact`` does in less time, and hand every unusual value to it, so that
only ``exact`` decides what is wrong. ``schemas/codec.py`` calls them; nobody else.
"""
