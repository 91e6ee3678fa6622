"""Replays that are long over leave the control topic, which every worker reads whole at its start.

Who asked for what, and what came of it, is in the audit for ever.
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
INTERVAL = 3600.0
"""Seconds between two runs."""
OVER = ("done", "cancelled", "refused")


async def expire_requests(control: ControlTopic, clock: Callable[[], float] = time.time) -> None:
    """Removes what is outdated, hour by hour; never ends. ``clock``: epoch seconds. Several workers
    may do it at a time: they remove the same."""
    while True:
        await asyncio.sleep(INTERVAL)
        try:
            for key in expired_keys(control.state, clock()):
                await control.put(key, None)
        except KafkaUnavailable as error:
            log.warning("old replays are not removed yet: %s", error)


def expired_keys(state: Mapping[str, Value], now: float) -> list[str]:
    """The keys of requests that are over and were asked for long ago. How far each partition is
    comes before the request itself: so nothing is left without one, wherever this is interrupted.
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
