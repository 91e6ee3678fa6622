"""Several workers on one machine: each is a process that runs this command, and is kept running."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time

from trunkline.local.process import dying_with_us

log = logging.getLogger(__name__)

_LONGEST = 30.0


class Fleet:
    """Runs this very command in ``size`` processes, each as one worker; restarts what dies.

    On Linux the workers get a SIGTERM when this process is gone, even by ``kill -9``.
    ``port``: of the first worker's health pages, 0 for none; the next ones count up.
    """

    def __init__(self, size: int, port: int) -> None:
        self._size = size
        self._port = port
        self._stop = threading.Event()
        self._children: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()

    def run(self) -> None:
        """Keep the workers running until SIGTERM or Ctrl-C; hand that on, and wait for all of them.
        Blocks; for the main thread, which signals come to."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        # A thread a worker, since waiting for several children at once needs SIGCHLD or polling;
        # each of them sleeps in wait() until its worker ends.
        threads = [threading.Thread(target=self._keep, args=(i,)) for i in range(self._size)]
        for thread in threads:
            thread.start()
        self._stop.wait()
        with self._lock:
            for child in self._children:
                if child.poll() is None:
                    child.terminate()
        for thread in threads:
            thread.join()

    def _keep(self, index: int) -> None:
        delay = 0.5
        while True:
            started = time.monotonic()
            # Under the lock, with the start: between "not stopping" and Popen a SIGTERM could come,
            # be handed to the children that there are, and leave this new one running for ever.
            with self._lock:
                if self._stop.is_set():
                    return
                child = subprocess.Popen(_command(index, self._port))
                self._children.append(child)
            code = child.wait()
            with self._lock:
                self._children.remove(child)
            if self._stop.is_set():
                return
            # A worker that ran for a while died of something new; one that dies at its start would
            # be started twice a second, each time with its imports and its rebalance.
            delay = 0.5 if time.monotonic() - started > _LONGEST else min(delay * 2, _LONGEST)
            log.error("worker %d ended with %d; again in %.1f s", index, code, delay)
            self._stop.wait(delay)


def _command(index: int, port: int) -> list[str]:
    """The command line of worker ``index``: this one, but for one worker and with its own port."""
    # Both options may stand in sys.argv already: of two of a name the last one counts.
    own = ["--workers", "1", "--port", str(port + index if port else 0)]
    command = [sys.executable, "-m", "trunkline", *sys.argv[1:], *own]
    return dying_with_us(command, signal.SIGTERM)
