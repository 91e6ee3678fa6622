"""Others' text, made fit for its place: masked for a cause, escaped for a terminal, and without the
secrets that it repeats."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote, quote_plus, unquote, urlsplit

MAX_MASKED = 300
"""Characters of a masked message that count. Behind them, messages often quote what was sent."""
MAX_VALUE_WORDS = 2
"""Words that a quoted value has at most. Quoted text of more is what an API says, as in the body
``{"error": "the customer is blocked"}``: it stays, since it tells causes apart."""

_UUID = re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b")
_CLOCK = r"\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"
_TIME = re.compile(rf"\b\d{{4}}-\d\d-\d\d(?:[T ]{_CLOCK})?")
_QUOTED = re.compile(
    r"""(?P<quoted>"[^"\n]*"|`[^`\n]*`|(?<!\w)'[^'\n]*'(?!\w))(?P<name>\s*:)?""",
)
_HEX = re.compile(r"\b(?:0x[0-9a-fA-F]+|(?=\d*[a-f])(?=[a-f]*\d)[0-9a-f]{16,})\b")
# "answered 422" is how the HTTP sink begins what a system says: another status, another cause.
_NUMBER = re.compile(r"(?<!answered )(?<!\d)\d+(?:[.,]\d+)*")


MIN_OWN = 3
"""Characters of an event's own value that is masked: a shorter one may stand in any sentence by
chance."""


def mask(message: str, own: Iterable[str] = ()) -> str:
    """The message without what differs from letter to letter. ``own``: the event's own values, as
    its key, which are masked whatever they look like: ``order A-17/b`` is ``order {key}``.

    An HTTP status stays, and so do the names in a JSON body.
    """
    for value in sorted(set(own), key=len, reverse=True):
        if len(value) >= MIN_OWN and value in message:
            message = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "{key}", message)
    message = _TIME.sub("<time>", _UUID.sub("<id>", message))
    message = _HEX.sub("<id>", _QUOTED.sub(_masked, message))
    return _NUMBER.sub("<n>", message)[:MAX_MASKED]


def _masked(match: re.Match[str]) -> str:
    quoted = match["quoted"]
    if match["name"] or len(quoted.split()) > MAX_VALUE_WORDS:
        return match[0]
    return f"{quoted[0]}…{quoted[-1]}"


def escaped(text: str, *, keep: str = "") -> str:
    """Text without what would move a terminal's cursor, change its colours or title, turn its
    direction, or begin a line of its own; ``keep``: what stays all the same.

    Keys, headers, messages and reasons come from others, and with them what an attacker wrote.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else _escape(c) for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


MIN_SECRET = 2
"""Characters of a secret that is looked for: a shorter one stands in any text by chance."""

MAX_SECRET = 4096
"""Characters of a secret, in whatever form. A text that is to be cut is looked through so much
further: of a secret that was cut in two no half is recognized."""

# Also with JSON's escape of its slash, and percent-encoded.
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/_-]|\\/|%2[BbFf]){4,}(?:=|%3[Dd]){0,2}")


def concealed(text: str, secrets: Iterable[str]) -> str:
    """The text with ``***`` for each of the secrets, in whatever form a system repeats what it was
    sent: as it is, percent-encoded, escaped for JSON, Python or HTML, or within base64, as Basic
    authorization has it.

    Case: an API answers 401 with the request's headers in its body, and the start of the body
    stands in the dead letter.
    """
    wanted = frozenset(secret for secret in secrets if len(secret) >= MIN_SECRET)
    if not wanted or not text:
        return text
    for form in _forms_of(wanted):  # of each a look through the text, which is fast in C
        if form in text:
            text = text.replace(form, "***")
    return _BASE64.sub(lambda found: "***" if _encodes(found[0], wanted) else found[0], text)


_KNOWN: dict[str, None] = {}
MOST_KNOWN = 10_000
MIN_KNOWN = 8
"""Characters of a secret that is taken out of every text of this process, whoever wrote it: what is
shorter, or is a word, may stand there for itself."""
MAX_WORD = 15
"""Letters of a word."""


def keep_secret(texts: Iterable[str]) -> None:
    """Have ``without_secrets`` know these. Called with the parameters that a process was given."""
    global _KNOWN
    found = {t: None for t in texts if len(t) >= MIN_KNOWN and not _is_word(t)}
    if not found.keys() <= _KNOWN.keys():  # a new one each time: another thread may read it now
        _KNOWN = dict(list({**_KNOWN, **found}.items())[-MOST_KNOWN:])


def _is_word(text: str) -> bool:
    """Whether it may be one: a generated ``qWfPbJluYaRsTz`` of letters alone is none."""
    return text.isalpha() and len(text) <= MAX_WORD and (text[1:].islower() or text.isupper())


def without_secrets(text: str) -> str:
    """``concealed`` for all secrets among the parameters of this process.

    The last line of defence, where text leaves it: connectors take their secrets out of what they
    raise, but a flow's own connector or builder may raise what a library says, and libraries quote
    addresses with keys in them.
    """
    return concealed(text, _KNOWN)


def secrets_of_url(*urls: str) -> list[str]:
    """What of URLs with a login in them no text may show: the passwords, also decoded."""
    found = []
    for url in urls:
        try:
            password = urlsplit(url.strip()).password or ""
        except ValueError:  # no URL: there is no telling which part of it is the password
            password = url
        found += [password, unquote(password)]
    return [password for password in found if password]


@lru_cache(maxsize=256)
def _forms_of(secrets: frozenset[str]) -> list[str]:
    # The longest first: one secret may begin as another one does.
    return sorted({f for secret in secrets for f in forms_of(secret)}, key=len, reverse=True)


def forms_of(secret: str) -> set[str]:
    """The forms in which a system repeats a text, as ``concealed`` has them, but for base64."""
    own = _bytes(secret)
    encoded = {quote(own, safe=""), quote(own), quote_plus(own)}
    lower = {re.sub("%..", lambda found: found[0].lower(), form) for form in encoded}
    in_json = {json.dumps(secret, ensure_ascii=ascii)[1:-1] for ascii in (True, False)}
    slashes = {form.replace("/", "\\/") for form in in_json}
    shown = {repr(secret)[1:-1], html.escape(secret), html.escape(secret, quote=False)}
    return {secret, *encoded, *lower, *in_json, *slashes, *shown}


def _bytes(secret: str) -> bytes:
    """The bytes of a secret. Those of a variable that are not UTF-8 Python has as surrogates, which
    no coding takes as they are: every line of the log would fail."""
    try:
        return secret.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return secret.encode(errors="surrogatepass")


def _encodes(found: str, secrets: frozenset[str]) -> bool:
    """Whether text that may be base64 has one of the secrets in it."""
    if len(found) < 4 * min(map(len, secrets)) // 3:
        return False
    plain = unquote(found).replace("\\", "").replace("-", "+").replace("_", "/").rstrip("=")
    wanted = [_bytes(secret) for secret in secrets]
    for before in range(4):  # other text may stand before it without a gap: ``Basic/dXNlcjp…``
        part = plain[before:]
        part = part[: len(part) - (len(part) % 4 == 1)]
        decoded = base64.b64decode(part + "=" * (-len(part) % 4))
        if any(secret in decoded for secret in wanted):
            return True
    return False
