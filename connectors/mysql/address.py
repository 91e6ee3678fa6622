"""Where the server is and how to log in, from one URL."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from trunkline.errors import AddressError

_FORM = (
    "mysql://user:password@host:port/database. Characters of user and password other than letters "
    "and digits must be percent-encoded: urllib.parse.quote(password, safe='')"
)
_SCHEMES = ("mysql", "mariadb")
_TLS = ("ssl_ca", "ssl_cert", "ssl_key")
_OPTIONS = (*_TLS, "ssl", "connect_timeout")


def parse(dsn: str) -> tuple[dict[str, Any], str]:
    """The driver's arguments for a URL (host, port, user, password and TLS), and the database.

    Logging in names no database: that would need a right to it, and fail without saying which.

    ``ssl=true`` encrypts, and checks the server's certificate against the machine's authorities;
    ``ssl_ca=<file>`` against these, ``ssl_cert`` and ``ssl_key`` are shown to the server.
    Raises AddressError, which quotes nothing of the URL: a part of it may be the password.
    """
    try:
        parts = urlsplit(dsn)
        port = parts.port or 3306
    except ValueError:
        # without the cause: it quotes the text
        raise AddressError(f"dsn is not a URL of the form {_FORM}") from None
    cut = parts.fragment or "@" in parts.path + parts.query  # at a #, / or ? of the password
    if parts.scheme not in _SCHEMES or not parts.hostname or cut:
        raise AddressError(f"dsn is not a URL of the form {_FORM}")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(set(given) - set(_OPTIONS))
    if unknown:
        raise AddressError(
            f"dsn has options that are not known: {', '.join(unknown)}. There are "
            f"{', '.join(_OPTIONS)}"
        )
    arguments: dict[str, Any] = {
        "host": parts.hostname,
        "port": port,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "connect_timeout": _seconds(given.get("connect_timeout", "10")),
    }
    return arguments | _tls(given), unquote(parts.path.strip("/"))


def _seconds(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 3600:
        raise AddressError("dsn: connect_timeout is no number of seconds from 1 to 3600")
    return int(text)


def _tls(given: dict[str, str]) -> dict[str, Any]:
    wanted = given.get("ssl", "true" if any(name in given for name in _TLS) else "false")
    if wanted not in ("true", "false"):
        raise AddressError("dsn: ssl is true or false")
    if wanted == "false":
        return {"ssl_disabled": True}
    files = {name.removeprefix("ssl_"): given[name] for name in _TLS if name in given}
    return {"ssl": {**files, "check_hostname": True, "verify_mode": "required"}}
