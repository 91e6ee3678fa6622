"""Where files are, as values that a flow gives to FileSource and FileSink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec

from trunkline.errors import ConfigurationError, MissingExtra
from trunkline.params import Secret
from trunkline.times import parse_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Sftp:
    """A folder on an SFTP server. Needs the extra ``sftp``.

    ``host_key``: fingerprints of the server's key, ``SHA256:…``: another key is refused, before
    anything is told to the server; so is each one while none is given, with the fingerprint to
    give. ``folder``: as the server names it. ``key``: the private key's text (OpenSSH or PEM),
    ``passphrase`` what it is locked with; ``password``: instead of a key, or besides.
    ``timeout``: for how long the server may be silent.

    Raises ConfigurationError for what cannot be, MissingExtra without asyncssh.
    """

    host: str
    user: str
    folder: str = "."
    port: int = 22
    host_key: str | Sequence[str] = ""
    key: Secret | str | None = field(default=None, repr=False)
    passphrase: Secret | str | None = field(default=None, repr=False)
    password: Secret | str | None = field(default=None, repr=False)
    timeout: str = "30s"

    def __post_init__(self) -> None:
        if find_spec("asyncssh") is None:
            raise MissingExtra("Sftp", "sftp")
        if not self.host or not self.user or not self.folder:
            raise ConfigurationError("Sftp: host=, user= and folder= are names")
        if self.key is None and self.password is None:
            raise ConfigurationError("Sftp: key= or password= is needed")
        if wrong := [pin for pin in self.pins if not pin.startswith("SHA256:")]:
            raise ConfigurationError(f"Sftp: host_key={wrong[0]!r} is no fingerprint SHA256:…")
        parse_duration(self.timeout)

    @property
    def pins(self) -> list[str]:
        """The fingerprints that are trusted."""
        given = [self.host_key] if isinstance(self.host_key, str) else self.host_key
        return [pin.rstrip("=") for pin in given if pin]


@dataclass(frozen=True, slots=True, kw_only=True)
class S3:
    """A folder in a bucket of S3, or of a store that speaks as S3 does. Needs the extra ``s3``.

    ``folder``: the prefix of keys, without the slash behind it; "": all of the bucket.
    ``endpoint``: the store's URL, "" for AWS. Without ``access_key`` and ``secret_key``,
    credentials are found as by all of AWS's tools: environment, files, the role of the pod.
    ``timeout``: for how long the store may be silent.

    Raises ConfigurationError for what cannot be, MissingExtra without aiobotocore.
    """

    bucket: str
    folder: str = ""
    endpoint: str = ""
    region: str = ""
    access_key: Secret | str | None = field(default=None, repr=False)
    secret_key: Secret | str | None = field(default=None, repr=False)
    timeout: str = "30s"

    def __post_init__(self) -> None:
        if find_spec("aiobotocore") is None:
            raise MissingExtra("S3", "s3")
        if not self.bucket or "/" in self.bucket:
            raise ConfigurationError(f"S3: bucket={self.bucket!r} is no name of a bucket")
        if self.folder != self.folder.strip("/"):
            raise ConfigurationError(f"S3: folder={self.folder!r} has no slash around it")
        if (self.access_key is None) != (self.secret_key is None):
            raise ConfigurationError("S3: access_key= and secret_key= come together")
        parse_duration(self.timeout)
