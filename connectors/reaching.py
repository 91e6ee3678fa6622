"""Whether a server can be reached: a connection, the handshake of TLS, and not a word more."""

from __future__ import annotations

import socket
import ssl

from yarl import URL

TIMEOUT = 5.0
"""Seconds that a connection may take."""


def unreachable(host: str, port: int, tls: ssl.SSLContext | None = None) -> str:
    """Why nobody answers there, "" if somebody does. Blocks."""
    try:
        with socket.create_connection((host, port), TIMEOUT) as plain:
            if tls is not None:
                with tls.wrap_socket(plain, server_hostname=host):
                    pass
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not trusted: {error.verify_message}"
    except ssl.SSLError as error:
        return f"TLS fails: {error.reason or error}"
    except socket.gaierror:
        return f"the host {host} is unknown to DNS"
    except TimeoutError:
        return f"no answer within {TIMEOUT:.0f} s"
    except OSError as error:
        return error.strerror or str(error)
    return ""


def unreachable_url(url: URL, tls: ssl.SSLContext | None) -> str:
    """As ``unreachable``, with where that is, of an http(s) URL. ``tls``: None for what the system
    trusts."""
    port = url.port or (443 if url.scheme == "https" else 80)
    secured = (tls or ssl.create_default_context()) if url.scheme == "https" else None
    why = unreachable(url.host or "", port, secured)
    return f"{url.host}:{port} cannot be reached: {why}" if why else ""


def taken(host: str, port: int) -> str:
    """Why a server cannot listen there, "" if it can. Blocks no port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As servers do: a connection that still fades away on this port is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            return error.strerror or str(error)
    return ""
