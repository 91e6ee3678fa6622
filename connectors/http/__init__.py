"""HTTP APIs: HttpSink sends JSON requests, one an event or many in one; HttpPolling reads what an
API lists: its room is ``polling``.

Of HttpSink: in come events; out go requests, or a delivery error for each answer that is not 2xx.
``sink`` is the connector; it runs in the event loop alone, on aiohttp. ``requests`` makes the
requests, ``paths`` fills the path of a URL, ``answers`` says what a status means and ``judging``
what a body does, ``oauth`` renews tokens, ``deadline`` is the time limit of all requests.
"""

from trunkline.connectors.http.judging import Answer, Judgement
from trunkline.connectors.http.oauth import ClientCredentials
from trunkline.connectors.http.polling import (
    Cursor,
    HttpPolling,
    LinkHeader,
    Offset,
    PageNumber,
    Since,
)
from trunkline.connectors.http.sink import HttpSink

__all__ = [
    "Answer",
    "ClientCredentials",
    "Cursor",
    "HttpPolling",
    "HttpSink",
    "Judgement",
    "LinkHeader",
    "Offset",
    "PageNumber",
    "Since",
]
