"""What a type's values must obey beyond their types: ``confluent:rules`` in its schema.

In: a parsed schema. Out: one function per type, from a value to what it violates; None for a type
without rules. ``declared`` finds the rules, ``syntax`` parses their expressions, a subset of CEL,
``checking`` holds them against the schema, ``evaluate`` computes them step by step, and ``check``
generates a function that lets values that obey pass in a fraction of the time. ``place`` finds a
mistake in its file. ``codec`` calls the function for each value that it has encoded.
"""
