"""Structured logs: one JSON object a line, or text for a person at a terminal."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

from trunkline.errors import ConfigurationError
from trunkline.event import Event
from trunkline.masking import escaped, without_secrets
from trunkline.tasks import FLOW, PART

_CHATTY = (
    *("faust", "mode", "aiohttp.access", "httpx", "httpcore", "asyncio", "aiokafka"),
    *("aiobotocore", "botocore", "urllib3", "asyncssh"),  # at debug with what they sign and send
)
STYLES = ("auto", "json", "text")
LEVELS = ("debug", "info", "warning", "error")
_STANDARD = set(vars(logging.makeLogRecord({}))) | {
    *("message", "asctime", "taskName", "data", "who"),
    "color_message",  # uvicorn's: the message once more, with escape sequences
}


def about(event: Event[Any]) -> dict[str, str]:
    """``extra=`` of a line that is about an event: its id and its trace's."""
    return {"event_id": event.id, "trace_id": event.trace_id}


class LineBudget:
    """So many lines of each kind in an interval, and then how many were left out.

    Case: a destination rejects 50,000 events in half a minute, and each has its dead letter with
    all there is to say. 10 MB of equal lines would only hide the others. ``clock``: seconds.
    """

    def __init__(
        self, clock: Callable[[], float], *, lines: int = 20, interval: float = 60.0
    ) -> None:
        self._clock = clock
        self._lines = lines
        self._interval = interval
        self._spent: dict[str, tuple[float, int]] = {}  # since when, and how many came since

    def allows(self, log: logging.Logger, kind: str) -> bool:
        """Whether a line of this kind may be logged now; says first what was left out before."""
        now = self._clock()
        since, count = self._spent.get(kind, (now, 0))
        if now >= since + self._interval:
            if (left_out := count - self._lines) > 0:
                log.warning("%s: %d more in %.0f s, not logged", kind, left_out, now - since)
            since, count = now, 0
        self._spent[kind] = since, count + 1
        return count < self._lines


def worker_name() -> str:
    """The name of this process as ``trunkline status`` shows it: ``host-pid``."""
    return f"{socket.gethostname()}-{os.getpid()}"


class JsonFormatter(logging.Formatter):
    """A record as JSON: time, level, logger, message, the traceback, and every ``extra=``.

    A record about an event carries ``event_id`` and ``trace_id``; each carries the process, and
    once they are known the ``flow``, the ``worker``, and the ``source``, ``destination`` or
    ``step`` that it is about: several workers write to one place.
    """

    flow = ""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        if flow := FLOW.get() or self.flow:
            line |= {"flow": flow, "worker": worker_name()}
        kind, name = PART.get()
        if kind:
            line[kind] = name
        line |= {k: v for k, v in vars(record).items() if k not in _STANDARD}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        try:
            made = orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        except TypeError:  # text that is not Unicode, numbers beyond 64 bits: slower, but a line
            made = json.dumps(line, default=str, skipkeys=True)
        return without_secrets(made)


class TextFormatter(logging.Formatter):
    """A record as a line for a person; whatever others wrote into it stays text of that line.

    Case: an API answers with an escape sequence that recolours the terminal, and a line break
    behind which it writes what looks like a line of ours.
    """

    flow = ""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname).1s %(who)s%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback behind it."""
        return without_secrets(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line: when, how bad, whose (``orders.erp [host-pid]``, as far as it is known)."""
        flow = FLOW.get() or self.flow
        whose = ".".join(filter(None, (flow, PART.get()[1])))
        record.who = f"{whose} [{worker_name()}] " if flow else ""
        return escaped(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        """The traceback, indented: no line of it can be taken for one of ours."""
        lines = super().formatException(ei).splitlines()
        return "\n".join(f"    {escaped(line)}" for line in lines)


def set_up(style: str = "auto", level: str = "INFO") -> None:
    """Log to standard error. ``style``: json, text, or auto (text at a terminal). Raises
    ConfigurationError for any other style or level."""
    if style not in STYLES:
        raise ConfigurationError(f"log format {style!r}: there are {', '.join(STYLES)}")
    if level.lower() not in LEVELS:
        raise ConfigurationError(f"log level {level!r}: there are {', '.join(LEVELS)}")
    handler = logging.StreamHandler()
    if style == "json" or (style == "auto" and not sys.stderr.isatty()):
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # What these say at info is about their own insides.
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def speak_for(flow: str) -> None:
    """Have every line of this process name its flow and worker."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, JsonFormatter | TextFormatter):
            handler.formatter.flow = flow
