"""HttpPolling: what an API lists, asked for again and again.

In come pages of items; out go records with positions. ``source`` is the connector, called in the
source's own thread; ``exchange`` makes one request and bounds all of it, ``pages`` says which page
follows, ``reading`` finds items in a page and makes records of them, ``since`` and
``connectors/comparing.py`` tell what of them is new.
"""

from trunkline.connectors.http.polling.pages import Cursor, LinkHeader, Offset, PageNumber
from trunkline.connectors.http.polling.since import Since
from trunkline.connectors.http.polling.source import HttpPolling

__all__ = ["Cursor", "HttpPolling", "LinkHeader", "Offset", "PageNumber", "Since"]
