"""SQL databases: SqlSink writes the newest state of each entity as a row of a table, SqlDatabase
runs the statements of operations, SqlPolling reads a table's rows: its room is ``polling``.

Of SqlSink: in come batches of events; out goes one transaction a batch, or a delivery error.
``sink`` is the connector, called in the event loop; its transactions run in threads of its own, as
the drivers block. ``changes`` makes rows of an event, ``wholes`` of the type of a whole, as an
order with its lines; ``table`` makes columns of an Avro type; ``schema`` checks the database's
tables, by what ``reflection`` reads of them and ``fit`` knows of types, and tells the ``ddl`` that
is needed; ``statements`` has the SQL of each dialect, ``engine`` the connections, ``errors`` what a
driver's error means, ``messages`` what of it may be told. Of both: ``calls`` runs the statement of
an operation in one transaction, and ``rows`` makes JSON of what it finds.
"""

from trunkline.connectors.sql.database import SqlDatabase
from trunkline.connectors.sql.polling import FullComparison, Increasing, SqlPolling, Timestamp
from trunkline.connectors.sql.sink import SqlSink

__all__ = ["FullComparison", "Increasing", "SqlDatabase", "SqlPolling", "SqlSink", "Timestamp"]
