"""What HttpSink sends: one request for an event, or for a batch of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from yarl import URL

from trunkline.connectors.base import HttpRequest
from trunkline.connectors.http.paths import PathOf, path_template, require_encoded, text_template
from trunkline.connectors.json_values import to_json
from trunkline.errors import ConfigurationError, DataError, Rejected
from trunkline.event import Event, split_key
from trunkline.headers import TL_OPERATION, TRACEPARENT
from trunkline.masking import mask

BatchForm = Literal["array", "lines"]
"""``array``: a JSON array of the events' data; ``lines``: a JSON value a line."""

HeadersOf = Callable[[Event[Any]], Mapping[str, str]]
EventHeaders = Mapping[str, str] | HeadersOf
"""Headers of an event: texts with ``{key}`` and fields of its data, or a function of it."""

_TYPES = {"array": "application/json", "lines": "application/x-ndjson"}


@dataclass(slots=True)  # frozen, making one takes three times as long, for each event
class Request:
    """``template``: the path without what is the one event's, and ``values`` are those."""

    method: str
    url: URL
    headers: dict[str, str]
    body: bytes | None
    template: str
    values: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """Method and address, as errors name it."""
        return f"{self.method} {self.url}"

    @property
    def cause(self) -> str:
        """The same for all events of the sink."""
        return f"{self.method} {self.template}".rstrip()

    def common(self, said: str) -> str:
        """What an answer says, without what is this event's."""
        own = [part for value in self.values for part in (value, *split_key(value))]
        return mask(said, [*own, *(quote(value, safe="") for value in own)])


class RequestFactory:
    """Makes the requests of one sink. Raises ConfigurationError for what cannot work."""

    def __init__(
        self,
        url: URL,
        type: type,
        *,
        method: str,
        path: str | PathOf,
        delete_method: str | None,
        idempotency_header: str,
        event_headers: EventHeaders | None,
        batch: BatchForm | None,
    ) -> None:
        self._url = url
        self._before = {"/": url.raw_path.rstrip("/"), "?": url.raw_path}
        self._method, self._delete_method = method, delete_method
        self._idempotency_header = idempotency_header
        self._batch = batch
        deletes = delete_method is not None
        self._template = "" if callable(path) else path
        self._path_is_foreign = callable(path)
        self._path = path if callable(path) else path_template(path, type, deletes=deletes)
        self._headers_of = _headers_of(event_headers, type, deletes=deletes)
        if batch is not None:
            self._check_batch(event_headers)

    def _check_batch(self, event_headers: EventHeaders | None) -> None:
        if self._batch not in _TYPES:
            raise ConfigurationError(f"HttpSink: batch={self._batch!r} is not 'array' or 'lines'")
        if self._path_is_foreign or "{" in self._template:
            raise ConfigurationError(
                "HttpSink: one request has one path: with batch= it cannot be an event's"
            )
        if self._delete_method is not None or event_headers is not None:
            raise ConfigurationError(
                "HttpSink: delete_method= and event_headers= are of one event, and cannot be "
                "given with batch="
            )

    def of_event(self, event: Event[Any]) -> Request:
        """The request of one event. Raises Rejected for one that none can be made of."""
        _require_no_call(event)
        identity, trace = event.idempotency_key, event.traceparent
        headers = {self._idempotency_header: identity}
        if trace:
            headers[TRACEPARENT] = trace
        method, body = self._method, None
        try:
            url = self._joined(self._path(event))
            if self._headers_of is not None:
                headers |= self._headers_of(event)
            if self._delete_method is not None and event.change == "delete":
                method = self._delete_method
            else:
                headers["Content-Type"] = "application/json"
                body = to_json(event.data)
        except DataError as error:
            raise Rejected(str(error)) from error
        return Request(method, url, headers, body, self._template, (event.key, identity))

    def of_call(self, call: HttpRequest, id: str, traceparent: str) -> Request:
        """The request of an operation. Raises Rejected for one that none can be made of."""
        headers = {**call.headers, self._idempotency_header: id}
        if traceparent and traceparent.isprintable():
            headers[TRACEPARENT] = traceparent
        body = None
        try:
            if call.path:
                require_encoded(call.path)
            if call.json is not None:
                if not any(name.lower() == "content-type" for name in headers):
                    headers["Content-Type"] = "application/json"
                body = to_json(call.json)
        except (DataError, Rejected) as error:
            bad = Rejected(str(error))
            bad.unsent = True
            raise bad from error
        url = self._followed_by(call.path) if call.path else self._url
        return Request(call.method, url, headers, body, "(an operation)", (id,))

    def item(self, event: Event[Any]) -> bytes:
        """One event of a batch. Raises Rejected for one that is no JSON."""
        _require_no_call(event)
        try:
            return to_json(event.data)
        except DataError as error:
            raise Rejected(str(error)) from error

    def of_batch(self, items: Sequence[tuple[Event[Any], bytes]]) -> Request:
        """The request of several events, each with what ``item`` makes of it."""
        bodies = [body for _, body in items]
        keys = "\n".join(event.idempotency_key for event, _ in items)
        headers = {
            self._idempotency_header: hashlib.sha256(keys.encode()).hexdigest(),
            "Content-Type": _TYPES[self._batch or "array"],
        }
        trace = items[0][0].traceparent
        if trace.isprintable() and trace:
            headers[TRACEPARENT] = trace
        is_lines = self._batch == "lines"
        body = b"\n".join([*bodies, b""]) if is_lines else b"[%s]" % b",".join(bodies)
        return Request(self._method, self._joined(self._template), headers, body, self._template)

    def _joined(self, path: str) -> URL:
        if not path:
            return self._url
        if self._path_is_foreign:
            require_encoded(path)
        return self._followed_by(path)

    def _followed_by(self, path: str) -> URL:
        # URL(text) would parse scheme, host and port anew, four times as long, for each event. The
        # query is part of the path here: a request's line has the two as one text.
        return self._url.with_path(self._before[path[0]] + path, encoded=True)


def _require_no_call(event: Event[Any]) -> None:
    """Raises Rejected for a call: its flow has no operations any more, or it would have been run.
    Its request may be of the events' type, and is none of them."""
    if name := event.header(TL_OPERATION):
        raise Rejected(f"it is a call of the operation {name!r}, which the flow has no more")


def _headers_of(given: EventHeaders | None, type: type, *, deletes: bool) -> HeadersOf | None:
    if given is None or callable(given):
        return given
    templates = {
        name: text_template(text, type, what=f"the header {name}", deletes=deletes)
        for name, text in given.items()
    }
    return lambda event: {name: fill(event) for name, fill in templates.items()}
