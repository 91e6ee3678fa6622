"""The certificate that a scaler shows KEDA, and whose certificates it asks for."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import grpc

from trunkline.errors import ConfigurationError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files in PEM. ``certificate``, ``key``: the scaler's own; ``clients``: of the authority whose
    certificates KEDA must have, None for no such question."""

    certificate: Path
    key: Path
    clients: Path | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """For a port of gRPC. The files are read again for each connection: a certificate that was
        renewed counts without a restart. Raises ConfigurationError for one that cannot be read."""
        read = self._read()

        def newest() -> grpc.ServerCertificateConfiguration:
            nonlocal read
            try:
                read = self._read()
            except ConfigurationError as error:  # in the middle of being replaced: the old ones
                log.warning("%s; what was read before is used", error)
            return _configuration(*read)

        return grpc.dynamic_ssl_server_credentials(
            _configuration(*read), newest, require_client_authentication=self.clients is not None
        )

    def _read(self) -> tuple[bytes, bytes, bytes | None]:
        clients = None if self.clients is None else _bytes(self.clients)
        return _bytes(self.key), _bytes(self.certificate), clients


def tls_files(certificate: str, key: str, clients: str) -> TlsFiles | None:
    """Those of the options; None where none is given. Raises ConfigurationError for a part of
    them."""
    if not (certificate or key or clients):
        return None
    if not (certificate and key):
        raise ConfigurationError("--tls-certificate and --tls-key belong together")
    return TlsFiles(Path(certificate), Path(key), Path(clients) if clients else None)


def _configuration(
    key: bytes, certificate: bytes, clients: bytes | None
) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(key, certificate)], clients)


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from None
