"""The airport's staff: sends notices to the webhook, those of an airport one after the other."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import orjson

from trunkline.demo.history import History
from trunkline.demo.timeline import Notice
from trunkline.errors import TrunklineError

PATIENCE_SECONDS = 45.0
_ANSWER_SECONDS = 30.0
_AGAIN_SECONDS = 1.0


class Desk:
    """Sends notices to ``url`` in the background and writes them into ``history``; a context
    manager. Leaving it gives up those that wait."""

    def __init__(self, url: str, token: str, history: History) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._history = history
        self._clerks: defaultdict[str, ThreadPoolExecutor] = defaultdict(
            lambda: ThreadPoolExecutor(1, "notices")
        )
        self._under_way: list[Future[None]] = []

    def __enter__(self) -> Desk:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for clerk in self._clerks.values():
            clerk.shutdown(cancel_futures=True)

    def send(self, notice: Notice) -> None:
        """Send a notice after those of the same airport; does not wait."""
        self._under_way.append(self._clerks[notice.airport].submit(self._send, notice))

    def is_done(self) -> bool:
        """Whether all are accepted. Raises TrunklineError if one was not."""
        for future in [future for future in self._under_way if future.done()]:
            future.result()
            self._under_way.remove(future)
        return not self._under_way

    def _send(self, notice: Notice) -> None:
        body = orjson.dumps(notice.body())
        request = urllib.request.Request(self._url, body, self._headers, method="POST")
        moment = time.time()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not _accepted(request):
            if time.monotonic() > deadline:
                raise TrunklineError(f"{self._url} takes no notices; see the worker's log")
            time.sleep(_AGAIN_SECONDS)
        self._history.sent(notice, moment)


def _accepted(request: urllib.request.Request) -> bool:
    """Whether the webhook took it (202); False: again later. Raises TrunklineError for a 4xx."""
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:
            return bool(answer.status == 202)
    except urllib.error.HTTPError as error:
        if error.code < 500:
            raise TrunklineError(f"the webhook refuses a notice: {error.code}") from error
        return False
    except OSError:  # not listening yet, or again soon
        return False
