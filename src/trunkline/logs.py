"""Structured logs: one JSON object a line, or text for a person at a terminal."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

import orjson

from trunkline.errors import ConfigurationError
from trunkline.event import Event
from trunkline.masking import escaped

STYLES = ("auto", "json", "text")
LEVELS = ("debug", "info", "warning", "error")
_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "data"}


def about(event: Event[Any]) -> dict[str, str]:
    """``extra=`` of a line that is about an event: its id and its trace's."""
    return {"event_id": event.id, "trace_id": event.trace_id}


class JsonFormatter(logging.Formatter):
    """A record as JSON: time, level, logger, message, the traceback, and every ``extra=``.

    A record about an event carries ``event_id`` and ``trace_id``.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {k: v for k, v in vars(record).items() if k not in _STANDARD}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        except TypeError:  # text that is not Unicode, numbers beyond 64 bits: slower, but a line
            return json.dumps(line, default=str, skipkeys=True)


class TextFormatter(logging.Formatter):
    """A record as a line for a person; whatever others wrote into it stays text of that line.

    Case: an API answers with an escape sequence that recolours the terminal, and a line break
    behind which it writes what looks like a line of ours.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname).1s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line."""
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
    for name in ("faust", "mode", "aiohttp.access", "httpx", "httpcore", "asyncio", "aiokafka"):
        logging.getLogger(name).setLevel(logging.WARNING)
