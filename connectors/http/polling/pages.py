"""Which page follows: by the Link header, a cursor, a number or an offset.

A page is asked for by a *place*, which is JSON and stands in the position: parameters of the
query, or a URL. None is the first one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import SplitResult, urljoin, urlsplit

from trunkline.connectors.json_values import pointed
from trunkline.errors import ConfigurationError, SourceError

Place = Mapping[str, str]
"""``{BY_URL: …}``, or parameters of the query."""
BY_URL = ""
"""No parameter has this name: a cursor that is sent as ``url`` must not be taken for an address."""

_LINK = re.compile(r'<([^>]*)>((?:\s*;\s*[\w*-]+\s*=\s*(?:"[^"]*"|[^",;\s]+))*)')
_NEXT = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^",;\s]+))', re.IGNORECASE)
LONGEST_PLACE = 8_000
"""Characters of a URL or cursor."""


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """``url``: where it came from; ``headers``: names in lower case; ``body``: parsed, or None
    where a function of the flow's reads it; ``items``: how many it has."""

    url: str
    headers: Mapping[str, str]
    body: Any
    items: int


class Pages(Protocol):
    """How an API tells which page follows."""

    def first(self) -> Place:
        """The parameters of the first page."""
        ...

    def following(self, place: Place, page: FetchedPage) -> Place | None:
        """The place behind a page; None behind the last. Raises SourceError."""
        ...


@dataclass(frozen=True, slots=True)
class LinkHeader:
    """The header ``Link: <…>; rel="next"`` (RFC 8288). Its URL must be of the same host."""

    def first(self) -> Place:
        """See Pages."""
        return {}

    def following(self, place: Place, page: FetchedPage) -> Place | None:
        """See Pages."""
        for target, parameters in _LINK.findall(page.headers.get("link", "")):
            names = " ".join(quoted or plain for quoted, plain in _NEXT.findall(parameters))
            if "next" in names.lower().split():
                return of_same_host(target, page.url)
        return None


@dataclass(frozen=True, slots=True)
class Cursor:
    """A field of the body that holds what the next page is asked for with.

    ``field``: its name or JSON pointer. ``parameter``: of the query, that takes it; "" where the
    field is the next page's URL. Missing, null, "" and false: it was the last page.
    """

    field: str
    parameter: str = ""

    def first(self) -> Place:
        """See Pages."""
        return {}

    def following(self, place: Place, page: FetchedPage) -> Place | None:
        """See Pages."""
        try:
            found = pointed(self.field)(page.body)
        except LookupError:
            return None
        if found is None or found is False or found == "":
            return None
        if isinstance(found, bool) or not isinstance(found, str | int):
            raise SourceError(f"{self.field} is no cursor: {type(found).__name__}")
        text = str(found)
        if len(text) > LONGEST_PLACE:
            raise SourceError(f"{self.field} has more than {LONGEST_PLACE} characters")
        if not self.parameter:
            return of_same_host(text, page.url)
        # With all else that the first page was asked for: a cursor alone would list everything,
        # also what was not changed since.
        return {**place, self.parameter: text}


@dataclass(frozen=True, slots=True)
class PageNumber:
    """Pages are numbered; one of fewer than ``size`` items, or of none, is the last.

    ``parameter``: of the query; ``start``: the first one's number; ``size``: items of a page, sent
    as ``size_parameter`` if that is named. Items that come or go while pages are read shift others
    from page to page: take a cursor where there is one.
    """

    parameter: str = "page"
    start: int = 1
    size: int | None = None
    size_parameter: str = ""

    def __post_init__(self) -> None:
        _check_size("PageNumber", self.size, self.size_parameter)

    def first(self) -> Place:
        """See Pages."""
        return {self.parameter: str(self.start), **_size_of(self)}

    def following(self, place: Place, page: FetchedPage) -> Place | None:
        """See Pages."""
        if page.items < (self.size or 1):
            return None
        return {**place, self.parameter: str(int(place[self.parameter]) + 1)}


@dataclass(frozen=True, slots=True)
class Offset:
    """Pages begin at an offset, which grows by the items that came; one of fewer than ``size``
    items, or of none, is the last. Otherwise as ``PageNumber``."""

    parameter: str = "offset"
    size: int | None = None
    size_parameter: str = "limit"

    def __post_init__(self) -> None:
        _check_size("Offset", self.size, "" if self.size is None else self.size_parameter)

    def first(self) -> Place:
        """See Pages."""
        return {self.parameter: "0", **_size_of(self)}

    def following(self, place: Place, page: FetchedPage) -> Place | None:
        """See Pages."""
        if page.items < (self.size or 1):
            return None
        return {**place, self.parameter: str(int(place[self.parameter]) + page.items)}


def of_same_host(target: str, base: str) -> Place:
    """The place of a URL, relative to ``base``. Raises SourceError for another host's: it would
    get the token."""
    if len(target) > LONGEST_PLACE:
        raise SourceError(f"the next page's URL has more than {LONGEST_PLACE} characters")
    try:
        url = urljoin(base, target)
        there, here = urlsplit(url), urlsplit(base)
        same = (there.scheme, there.hostname, _port(there)) == (
            here.scheme,
            here.hostname,
            _port(here),
        )
    except ValueError as error:
        raise SourceError(f"the next page's URL is none: {error}") from error
    if not same:
        raise SourceError(
            f"the next page is at {there.scheme}://{there.hostname}, another host, which must not "
            "get this one's credentials"
        )
    return {BY_URL: url}


def _port(url: SplitResult) -> int | None:
    return url.port or {"https": 443, "http": 80}.get(url.scheme)


def _check_size(name: str, size: int | None, parameter: str) -> None:
    if size is not None and size < 1:
        raise ConfigurationError(f"{name}: size= is a number of items, from 1 on")
    if parameter and size is None:
        raise ConfigurationError(f"{name}: size_parameter= needs size=")


def _size_of(pages: PageNumber | Offset) -> dict[str, str]:
    named = pages.size_parameter and pages.size is not None
    return {pages.size_parameter: str(pages.size)} if named else {}
