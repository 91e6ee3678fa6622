"""How HttpSink is let in by an API, and what of it must stay unseen."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from trunkline.connectors.http.oauth import ClientCredentials
from trunkline.errors import ConfigurationError
from trunkline.params import Secret, revealed


def secrets_among(
    token: Secret | str | None,
    auth: tuple[str, Secret | str] | None,
    headers: Mapping[str, Secret | str] | None,
) -> list[str]:
    """What no error may show, even if an answer repeats it."""
    secrets = [token, auth and auth[1]]
    secrets += [value for value in (headers or {}).values() if isinstance(value, Secret)]
    return [text for secret in secrets if secret and (text := revealed(secret))]


def authorization(
    token: Secret | str | None,
    auth: tuple[str, Secret | str] | None,
    oauth: ClientCredentials | None,
) -> dict[str, str]:
    """The header that lets a sink in. Raises ConfigurationError for more than one way."""
    if sum(given is not None for given in (token, auth, oauth)) > 1:
        raise ConfigurationError("HttpSink: give one of token=, auth= and oauth=, not several")
    if token is not None:
        return {"Authorization": f"Bearer {revealed(token)}"}
    if auth is not None:
        pair = f"{auth[0]}:{revealed(auth[1])}".encode()
        return {"Authorization": "Basic " + base64.b64encode(pair).decode()}
    return {}
