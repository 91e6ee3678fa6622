"""A project's types as data contracts that other tools read: the Open Data Contract Standard.

In: a folder of schemas. Out: a contract for each domain, as YAML. Called by ``trunkline schemas
export``. ``odcs`` makes contracts of schemas, ``yaml_text`` writes them.
"""
