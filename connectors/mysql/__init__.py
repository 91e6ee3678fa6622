"""MySqlCDC: the rows of MySQL and MariaDB tables, then their changes, from the binary log.

In come the server's catalog, rows and binary log; out go records with positions. ``source`` is the
connector, called in the source's own thread. ``beginning`` reads the first ``snapshot`` and what is
left of one that was interrupted (``rest``, in the order of ``keys``); ``changes`` reads the
``stream``, whose events ``decoder`` takes apart. Before, ``preflight`` asks whether the server's
log has everything (``check`` asks it for people, and of all tables), and ``failover`` where a
position of another server is in this one's log; ``backlog`` asks how much of the log waits. What
they need for that: ``capture`` for what is read, ``events``, ``tablemap`` and ``columns`` for rows,
``statements`` and ``tables`` for what becomes of tables, ``texts`` for the snapshot's values,
``session`` and ``packets`` for a connection that a stop can interrupt.
"""

from trunkline.connectors.mysql.source import MySqlCDC

__all__ = ["MySqlCDC"]
