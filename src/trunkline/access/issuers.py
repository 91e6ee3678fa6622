"""Who issues tokens that gateways believe, and what a role may do: tables of ``access.toml``."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from trunkline.access.quota import UNLIMITED, Quota

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""How tokens may be signed: by a private key that the issuer alone has. Never ``none``, and never
HS256: who verifies by a shared secret could issue as well, and a public key taken for one has been
the way into many systems."""


def secure(url: str) -> str:
    """The address, if what comes from there is what was sent: whoever could change keys on their
    way could issue tokens. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return url
    if parts.scheme == "http" and _is_loopback(parts.hostname or ""):
        return url
    raise ValueError("must begin with https://, or be of this machine")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _signed(algorithms: list[str]) -> list[str]:
    if wrong := sorted(set(algorithms) - set(ALGORITHMS)):
        raise ValueError(f"{', '.join(wrong)}: take of {', '.join(ALGORITHMS)}")
    return algorithms


Url = Annotated[str, AfterValidator(secure)]
Path = Annotated[str, Field(pattern=r"^[^.]{1,100}(\.[^.]{1,100}){0,9}$")]
"""Of a claim: names of members, with dots between them."""


class IssuerEntry(BaseModel):
    """An issuer in the file: ``[issuers.<name>]``.

    ``issuer``, ``audience``: what a token's ``iss`` and ``aud`` must be; ``jwks``: where its keys
    are, else what its discovery document says; ``roles``: the claim of a client's roles;
    ``client``: the claim that names it; ``algorithms``: by which tokens are signed; ``quota``: of
    each client.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: Url
    audience: str = Field(min_length=1)
    jwks: Url | None = None
    roles: Path = "roles"
    client: Path = "sub"
    algorithms: Annotated[list[str], Field(min_length=1), AfterValidator(_signed)] = [
        *("RS256", "PS256", "ES256", "EdDSA")
    ]
    quota: Quota = UNLIMITED


class RoleEntry(BaseModel):
    """A role in the file: ``[roles.<name>]``: what a token's client with this role may do, as for a
    client of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    call: list[str] = []
    resolve: list[str] = []
    publish: list[str] = []
