"""Real servers on one machine, without Docker: Kafka, a schema registry, PostgreSQL, MariaDB.

``stack`` is the whole, for ``trunkline up``, demo and tests. Its thread runs ``supervisor``,
which starts each ``server`` (``kafka``, ``registry``, ``postgres``, ``mariadb``) as a child process
(``process``, ``launch``) from downloaded files (``artifacts``), restarts it when it dies, and stops
it. ``state`` is what other programs see of it. Nothing here is used in production.
"""
