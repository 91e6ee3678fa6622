"""The names of topics and consumer groups, each composed here and nowhere else.

They are made of function names: ``flow`` is a flow's name, ``destination`` and ``source`` those of
the functions that define them. Names are an interface: operators, access rights and dashboards use
them.
"""

from __future__ import annotations

_INBOX = ".inbox"
_RETRY = ".retry."


def inbox(flow: str, destination: str) -> str:
    """The topic of all that a destination is to receive."""
    return f"{flow}.{destination}{_INBOX}"


def tier(flow: str, destination: str, delay: str) -> str:
    """The retry topic of one delay, as the flow writes it: ``orders.erp.retry.10s``."""
    return f"{flow}.{destination}{_RETRY}{delay}"


def dlq(flow: str, part: str) -> str:
    """The dead-letter topic of a destination or a source."""
    return f"{flow}.{part}.dlq"


def positions(flow: str, source: str) -> str:
    """The topic of a source's positions."""
    return f"{flow}.{source}.positions"


def control(flow: str) -> str:
    """The compacted topic of a flow's state: what operators asked for, and what workers tell."""
    return f"{flow}.control"


def audit(flow: str) -> str:
    """The topic of who did what by hand."""
    return f"{flow}.audit"


def route_group(flow: str) -> str:
    """The consumer group of the workers that route a flow."""
    return f"{flow}.route"


def delay_of(topic: str) -> str:
    """The delay of a retry topic as the flow wrote it; "" for any other topic."""
    return topic.rpartition(_RETRY)[2] if _RETRY in topic else ""


def inbox_of(topic: str) -> str:
    """The inbox that a retry topic belongs to; any other topic is its own."""
    destination, is_tier, _ = topic.rpartition(_RETRY)
    return f"{destination}{_INBOX}" if is_tier else topic


def destination_of(topic: str) -> str:
    """``flow.destination`` of an inbox; "" for any other topic."""
    return topic.removesuffix(_INBOX) if topic.endswith(_INBOX) else ""
