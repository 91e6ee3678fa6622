"""PostgresCDC: the rows of PostgreSQL tables, then their changes, by logical replication.

In come the server's catalog, rows and write-ahead log; out go records with positions. ``source``
is the connector, called in the source's own thread; ``beginning`` makes slot and publication and
reads the ``snapshot``, ``changes`` reads the ``stream``, whose messages ``decoder`` takes apart;
both ask ``catalog`` what there is, and ``partitions`` what the log does not tell. ``check`` asks
all of it without changing anything, ``gauges`` how the slot is. ``values`` makes Python values of
PostgreSQL's text, ``connection`` makes connections that a stop can interrupt.
"""

from trunkline.connectors.postgres.source import PostgresCDC

__all__ = ["PostgresCDC"]
