"""SqlPolling: the rows of a table, asked for again and again, of any database of SQLAlchemy.

In comes a table or a view; out go records with positions. ``source`` is the connector, called in
the source's own thread; ``modes`` says how it can tell what is new, ``ordered`` reads by a growing
column, ``comparison`` compares all rows with those that ``connectors/known.py`` remembers.
``table`` asks the database, page by page, ``values`` has what its columns hold in Python,
``records`` makes records of rows, and ``cutting`` ends a statement that a stop does not wait for.
"""

from trunkline.connectors.sql.polling.modes import FullComparison, Increasing, Timestamp
from trunkline.connectors.sql.polling.source import SqlPolling

__all__ = ["FullComparison", "Increasing", "SqlPolling", "Timestamp"]
