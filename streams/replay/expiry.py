"""Removing requests that are long over from the control topic.

Why: every worker reads that topic whole at its start. Who asked for what, and what came of it, is
in the audit topic for ever.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime

from trunkline.kafka import KafkaUnavailable
from trunkline.streams.control.records import ReplayKey
from trunkline.streams.control.topic import ControlTopic, Value

log = logging.getLogger(__name__)

RETENTION = 90 * 86_400.0
"""Seconds for which a replay is remembered, from when it was asked for."""
CHECK_INTERVAL = 3600.0
"""Seconds between two runs."""
OVER = ("done", "cancelled", "refused")


async def expire_requests(control: ControlTopic, clock: Callable[[], float] = time.time) -> None:
    """Remove expired requests, hour by hour; never ends. ``clock``: epoch seconds.

    Every worker that routes does it. None has to be chosen: they remove the same.
    """
    while True:
        await asyncio.sleep(CHECK_INTERVAL)
        try:
            for key in expired_keys(control.state, clock()):
                await control.put(key, None)
        except KafkaUnavailable as error:
            log.warning("old replays are not removed yet: %s", error)


def expired_keys(state: Mapping[str, Value], now: float) -> list[str]:
    """The keys of requests that are over and were asked for long ago, and of their progress.

    A request's own key comes last. Why: a worker that is killed between two removals leaves a
    request without some of its progress, which the next one removes with the rest. The other way
    round, progress would be left without a request, and nobody would know how old it is.
    """
    keys = [key for text in state if (key := ReplayKey.parse(text)) is not None]
    requests = [key for key in keys if key.partition is None]
    old = {key.id for key in requests if _is_old(state[key.text], now)}
    progress = [key for key in keys if key.partition is not None]
    return [key.text for key in [*progress, *requests] if key.id in old]


def _is_old(value: Value, now: float) -> bool:
    if value.get("state") not in OVER:
        return False
    try:
        return now - datetime.fromisoformat(value["at"]).timestamp() > RETENTION
    except (KeyError, TypeError, ValueError):  # it does not say when: it may be new
        return False
