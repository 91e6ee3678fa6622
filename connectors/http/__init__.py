"""HttpSink: one JSON request an event.

In come events; out go requests, or a delivery error for each answer that is not 2xx. ``sink`` is
the connector; it runs in the event loop alone, on aiohttp. ``paths`` fills the path of a URL,
``answers`` says what a status means, ``deadline`` is the time limit of all requests.
"""

from trunkline.connectors.http.sink import HttpSink

__all__ = ["HttpSink"]
