"""Python types from ``avro_schemas/<domain>/<Type>.avsc``: ``trunkline schemas generate``.

``sources`` reads the files, ``legal`` says what is wrong with them, ``render`` writes a module a
domain, ``command`` says which modules are stale and writes them, ``project`` where a project has
them. Runs on a developer's machine and in CI, never in a worker.
"""
