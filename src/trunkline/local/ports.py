"""Which ports are free, and who has those that are not."""

from __future__ import annotations

import errno
import random
import socket

from trunkline.errors import TrunklineError

_given: set[int] = set()


class PortTaken(TrunklineError):
    """A server cannot listen where it should; the message names the port and its owner."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now; never the same one twice.

    Below the range of outgoing connections, so that none takes it while its server restarts.
    """
    while (port := random.randrange(20_000, 32_000)) in _given or not is_free(port):
        continue
    _given.add(port)
    return port


def is_free(port: int) -> bool:
    """Whether a server can listen on this port of 127.0.0.1 now. Raises OSError if it may not."""
    with socket.socket() as probe:
        # As servers do: a connection that still fades away on this port is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True


def require_free(server: str, port: int) -> None:
    """Raises PortTaken unless a server can listen on this port of 127.0.0.1."""
    if not is_free(port):
        raise PortTaken(
            f"{server} needs port {port}, but {_owner(port)} listens there: stop it, or choose "
            f"another port with --{server}-port"
        )


def _owner(port: int) -> str:
    """Who listens on a port, as far as this system lets us see it."""
    try:
        import psutil
    except ImportError:
        return "another program"
    try:
        listeners = [c for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == port]
        names = [f"{psutil.Process(c.pid).name()} (pid {c.pid})" for c in listeners if c.pid]
    except psutil.Error:
        names = []
    return names[0] if names else "another program"
