"""HttpPolling: an API that is asked, again and again, for what is new in it."""

from __future__ import annotations

import hashlib
import logging
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from trunkline.connectors.base import Batch, Finding, Position, Source
from trunkline.connectors.comparing import Comparison
from trunkline.connectors.http.oauth import ClientCredentials
from trunkline.connectors.http.polling.exchange import AnswerError, HttpAnswer, HttpExchange
from trunkline.connectors.http.polling.pages import (
    BY_URL,
    Cursor,
    FetchedPage,
    Offset,
    PageNumber,
    Pages,
    Place,
)
from trunkline.connectors.http.polling.reading import (
    ItemKey,
    Items,
    PageReader,
    id_of,
    shown,
    unreadable,
)
from trunkline.connectors.http.polling.since import Since, SinceState
from trunkline.connectors.json_values import exact_json
from trunkline.connectors.schedule import Schedule
from trunkline.connectors.waiting import Stopped
from trunkline.errors import AddressError, ConfigurationError, DataError, SourceError
from trunkline.event import Record, split_key
from trunkline.params import Secret
from trunkline.times import parse_duration

log = logging.getLogger(__name__)

_EXPIRED = frozenset({400, 404, 409, 410, 416, 422})
"""What a server answers to a page that it knows no more."""
MAX_SHOWN = 400
"""Characters of an error that quotes an answer."""
SETTLED = timedelta(minutes=1)


class HttpPolling(Source):
    """Reads the items that an HTTP API lists, by asking it.

    ``url``: of the list, without a query. ``key``: the field, or fields, with the entity's key, as
    names or JSON pointers, or a function of the item. ``items``: where the body has the list, ""
    if it is the list; or a function of the body's bytes that gives items. ``pages``: which page
    follows: ``LinkHeader``, ``Cursor``, ``PageNumber``, ``Offset``; None: there is one.
    ``since``: asks only for what has changed; without it, all is read and compared with the look
    before. ``params``, ``headers``: of each request, also API keys, as Secrets. ``token``: Bearer;
    ``auth``: Basic; ``oauth``: a token that is renewed. ``every``: a duration from the end of a
    look to the next, or a cron expression in ``zone``. ``max_wait``: how long a ``Retry-After`` is
    waited for at the most. ``timeout``: of one request, all in all. ``max_body``: bytes of an
    answer, decompressed. ``max_pages``: of a look. ``remember``, ``max_deleted``: as in
    ``FullComparison``. ``batch``: records of a batch. ``stream``: the records'.

    Records: with ``since`` ``change`` is "update" and ``time`` that of its field; else
    "snapshot" in the first look and then what happened. An item without a key is a dead letter.

    Guarantees: a crash anywhere repeats nothing in Kafka that is remembered, and a repeat has the
    same id; a look that was interrupted goes on at its page. Credentials go to the host of ``url``
    alone: no redirect and no next page of another host is followed. A pagination that goes round
    in circles ends with SourceError, as do answers that are too long, too slow, or no list.

    Raises ConfigurationError and AddressError for what cannot be.
    """

    def __init__(
        self,
        url: str,
        *,
        key: ItemKey,
        items: Items = "",
        pages: Pages | None = None,
        since: Since | None = None,
        params: Mapping[str, Secret | str] | None = None,
        headers: Mapping[str, Secret | str] | None = None,
        token: Secret | str | None = None,
        auth: tuple[str, Secret | str] | None = None,
        oauth: ClientCredentials | None = None,
        every: str = "1m",
        zone: str = "UTC",
        max_wait: str = "10m",
        timeout: str = "30s",
        max_body: int = 10_000_000,
        max_pages: int = 10_000,
        remember: int = 1_000_000,
        max_deleted: float = 0.5,
        batch: int = 2000,
        stream: str = "http",
        tls_context: ssl.SSLContext | None = None,
    ) -> None:
        if not url.startswith(("https://", "http://")) or "?" in url or "#" in url:
            raise AddressError("HttpPolling: url= is an http(s) URL without a query: see params=")
        if sum(each is not None for each in (token, auth, oauth)) > 1:
            raise ConfigurationError("HttpPolling: give one of token=, auth= and oauth=")
        if min(max_body, max_pages, remember, batch) < 1:
            raise ConfigurationError("HttpPolling: limits are 1 or more")
        self._url = url
        self._reader = PageReader(items, key)
        self._pages = pages
        self._since = since
        self._schedule = Schedule(every, zone)
        self._max_pages = max_pages
        self._remember, self._max_deleted = remember, max_deleted
        self._batch = batch
        self._stream = stream
        self._exchange = HttpExchange(
            headers=headers or {},
            params=params or {},
            token=token,
            auth=auth,
            oauth=oauth,
            timeout=parse_duration(timeout),
            max_body=max_body,
            max_wait=parse_duration(max_wait),
            tls_context=tls_context,
        )
        self._missing: set[str] = set()
        self._unkeyed: set[str] = set()

    def read(self, position: Position | None, stop: threading.Event) -> Iterator[Batch]:
        """See ``Source.read``. Positions: ``{"by": "since" | "comparison", "of": URL, "looked":
        when the last look ended, "same": what tells the server that we have its answer, "page":
        which one a look goes on at}``, and what ``SinceState`` or ``Comparison`` has."""
        self._begin(position)
        try:
            if self._next is None and self._wait() > 0:  # nothing waits: whoever asks knows then
                yield self._given([], current=True)
            while not stop.is_set():
                if self._next is None and stop.wait(self._wait()):
                    return
                yield from self._look(stop)
        except Stopped:
            return

    def streams(self) -> Sequence[str]:
        """See ``Source.streams``: the one of ``stream=``."""
        return (self._stream,)

    def close(self) -> None:
        """See ``Source.close``."""
        self._exchange.close()

    def check(self) -> list[Finding]:
        """See ``Source.check``: the first page is asked for and read."""
        self._begin(None)
        try:
            _, items = self._read(self._ask(self._first(), {}, threading.Event()))
            for item in items[:1]:
                self._reader.key(item)
        except (SourceError, DataError) as error:
            return [Finding(str(error), "mend the URL, the credentials, items= or key=")]
        finally:
            self.close()
        return []

    def _read(self, answer: HttpAnswer) -> tuple[Any, list[Any]]:
        """An answer's body, parsed, and its items. Raises SourceError, without our secrets, which
        a page of errors may repeat."""
        try:
            return self._reader.items(answer.body)
        except SourceError as error:
            raise SourceError(self._exchange.concealed(str(error))[:MAX_SHOWN]) from None

    def _begin(self, position: Position | None) -> None:
        by = "comparison" if self._since is None else "since"
        if position is not None and (position.get("by"), position.get("of")) != (by, self._url):
            raise ConfigurationError(
                f"the stored position is of {position.get('of', 'another source')} by "
                f"{position.get('by')}, and this source reads {self._url} by {by}: reset it"
            )
        stored = position or {}
        looked = stored.get("looked")
        self._looked = None if looked is None else datetime.fromisoformat(looked)
        self._same: dict[str, str] | None = stored.get("same")
        self._next: Place | None = stored.get("page")
        self._missing = set()
        self._state = None if self._since is None else SinceState(self._since, position)
        self._comparison = Comparison(
            self._url,
            self._stream,
            remember=self._remember,
            max_deleted=self._max_deleted,
            stored=position if by == "comparison" else None,
        )

    def _position(self) -> Position:
        if self._state is not None:
            position = {"by": "since", "of": self._url, **self._state.position()}
        else:
            position = {"by": "comparison", "of": self._url, **self._comparison.position()}
        if self._looked is not None:
            position["looked"] = self._looked.isoformat()
        if self._same is not None:
            position["same"] = self._same
        if self._next is not None and self._state is not None:
            # A comparison must see all of the list: it begins again.
            position["page"] = dict(self._next)
        return position

    def _wait(self) -> float:
        return self._schedule.wait(self._looked, datetime.now(UTC))

    def _first(self) -> Place:
        first = {} if self._pages is None else dict(self._pages.first())
        return first | ({} if self._state is None else self._state.parameters())

    def _ask(self, place: Place, headers: Mapping[str, str], stop: threading.Event) -> HttpAnswer:
        if BY_URL in place:
            return self._exchange.get(place[BY_URL], {}, headers, stop)
        return self._exchange.get(self._url, place, headers, stop)

    def _look(self, stop: threading.Event) -> Iterator[Batch]:
        """Read the pages, one after the other; then what is missing in all of them is gone.

        A list of one page is asked for by ``If-None-Match``: 304 says that it is the same. The
        validator of a first page says nothing of others.
        """
        resumed = self._next is not None
        begun, records = not resumed, list[Record]()
        place = self._next = self._next or self._first()
        self._comparison.begin()
        headers = {} if resumed else self._conditions(place)
        asked, contents, count = {_digest(place)}, set[bytes](), 0
        while True:
            try:
                answer = self._ask(place, headers, stop)
            except AnswerError as error:
                if not resumed or error.status not in _EXPIRED:
                    raise
                log.info("%s: the look begins again at its first page: %s", self._url, error)
                resumed, place = False, self._first()
                self._next = place
                continue
            if answer.status == 304:
                yield from self._ended([], unseen=(), same=self._same)
                return
            headers, count = {}, count + 1
            body, items = self._read(answer)
            self._refuse_circle(items, contents)
            page = FetchedPage(answer.url, answer.headers, body, len(items))
            following = self._following(place, page)
            for item in items:
                if len(records) == self._batch:  # what it knows is stored with it, and no more
                    yield self._given(records)
                    records = []
                if (record := self._record(item)) is not None:
                    records.append(record)
            if following is None:
                break
            if _digest(following) in asked or count >= self._max_pages:
                raise SourceError(
                    f"{self._url}: page {count} leads to one that was read already, or there are "
                    f"more than max_pages={self._max_pages}"
                )
            self._next, place, resumed = following, following, False
            asked.add(_digest(following))
            if records:
                yield self._given(records)
                records = []
        unseen = self._comparison.unseen() if self._state is None else ()
        alone = begun and count == 1 and self._body_tells_pages
        same = _validators(place, answer) if alone else None
        yield from self._ended(records, unseen=unseen, same=same)

    def _following(self, place: Place, page: FetchedPage) -> Place | None:
        following = None if self._pages is None else self._pages.following(place, page)
        if following is None or BY_URL not in following:
            return following
        return {BY_URL: self._exchange.without_secrets(following[BY_URL])}

    @property
    def _body_tells_pages(self) -> bool:
        """Whether a list has another page as soon as the first one's body is another. A validator
        tells of the body alone: where the page is full, a second one changes only its Link."""
        return self._pages is None or isinstance(self._pages, Cursor | PageNumber | Offset)

    def _ended(
        self, records: list[Record], *, unseen: Sequence[str], same: dict[str, str] | None
    ) -> Iterator[Batch]:
        """The look is over, with the last records. ``unseen``: what it did not list.

        What is missing in two looks in a row is gone: a list that is read page by page may have
        shifted meanwhile. Until then nothing is asked for by a validator.
        """
        gone = [key for key in unseen if key in self._missing]
        for record in self._comparison.gone(gone, self._reader.names, split_key):
            records.append(record)
            if len(records) == self._batch:
                yield self._given(records)
                records = []
        self._missing = set(unseen).difference(gone)
        if self._state is not None:
            self._state.end()
        self._comparison.end()
        self._same = None if self._missing else same
        self._next, self._looked = None, datetime.now(UTC)
        yield self._given(records, current=True)

    def _given(self, records: list[Record], *, current: bool = False) -> Batch:
        return Batch(records, self._position(), current=current)

    def _record(self, item: Any) -> Record | None:
        """The record of an item; None where it is what it was."""
        raw = shown(item)
        try:
            key = self._reader.key(item)
        except DataError as error:
            record = unreadable(error, self._stream, raw)
            if record.id in self._unkeyed or len(self._unkeyed) >= self._batch:
                return None  # told already, in this process
            self._unkeyed.add(record.id)
            return record
        if self._state is None:
            return self._comparison.row(key, item, raw)[1]
        if not self._state.is_new(item, raw):
            return None
        return self._update(key, item, raw, self._state.time_of(item) or datetime.now(UTC))

    def _update(self, key: str, item: dict[str, Any], raw: bytes, time: datetime) -> Record:
        return Record(
            key=key,
            data=item,
            change="update",
            stream=self._stream,
            id=id_of(self._url.encode(), key.encode(errors="replace"), raw),
            time=time,
            place=f"{self._stream} {key}"[:200],
        )

    def read_again(self, record: Record) -> Record:
        """See ``Source.read_again``: the item, by today's ``key=``. Without ``since`` the next look
        publishes it anyway, once it has a key, and its letter counts as superseded."""
        assert record.unreadable is not None
        raw = record.unreadable.raw
        try:
            item = exact_json(raw)
        except ValueError as error:
            raise DataError(f"the item cannot be read: {error}") from error
        return self._update(self._reader.key(item), item, raw, record.time)

    def _conditions(self, place: Place) -> dict[str, str]:
        same = self._same or {}
        if same.get("of") != _digest(place):
            return {}
        names = {"etag": "If-None-Match", "modified": "If-Modified-Since"}
        return {names[name]: value for name, value in same.items() if name in names}

    def _refuse_circle(self, items: list[Any], contents: set[bytes]) -> None:
        """A server that does not know the parameter of pages answers the first one, for ever."""
        if not items:
            return
        digest = hashlib.blake2b(b"\n".join(shown(item) for item in items)).digest()
        if digest in contents:
            raise SourceError(
                f"{self._url} gave the same page twice: does it know the parameter of pages=?"
            )
        contents.add(digest)


def _digest(place: Place) -> str:
    return id_of(*(f"{name}={value}".encode() for name, value in sorted(place.items())))


def _validators(place: Place, answer: HttpAnswer) -> dict[str, str] | None:
    """What the next look is asked with. A time of modification only if it is a minute in the past,
    by the server's clock: it tells seconds, and what changes again within the same one keeps it
    (RFC 9110, 8.8.2.2)."""
    modified = answer.headers.get("last-modified", "")
    try:
        age = parsedate_to_datetime(answer.headers["date"]) - parsedate_to_datetime(modified)
        settled = age >= SETTLED
    except (KeyError, ValueError, TypeError, OverflowError):
        settled = False
    found = {"etag": answer.headers.get("etag"), "modified": modified if settled else None}
    kept = {name: value for name, value in found.items() if value and len(value) <= 1_000}
    return {"of": _digest(place), **kept} if kept else None
