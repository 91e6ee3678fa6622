"""The names of topics, consumer groups and transactional ids, each composed here and nowhere else.

They are made of function names: ``flow`` is a flow's name, ``destination`` and ``source`` those of
the functions that define them. Names are an interface: operators, access rights and dashboards use
them, and what is stored in a destination's tables may hold them.
"""

from __future__ import annotations

import re

_INBOX = ".inbox"
_RETRY = ".retry."
_DLQ = ".dlq"
_POSITIONS = ".positions"
_CALLS = ".calls"
_QUERIES = ".queries"
_CONTROL = ".control"

# A flow's name may hold dots, even ".retry."; a function's name holds none, and a delay begins
# with a digit. So "a.retry.b.erp.inbox" is the inbox of flow a.retry.b, not a retry topic.
_TIER = re.compile(r"(.+)\.retry\.(\d+(?:\.\d+)?[a-z]+)")


def qualified(flow: str, part: str) -> str:
    """A destination or source as people name it: ``orders.erp``."""
    return f"{flow}.{part}"


# Topics


def inbox(flow: str, destination: str) -> str:
    """The topic of all that a destination is to receive."""
    return f"{flow}.{destination}{_INBOX}"


def tier(flow: str, destination: str, delay: str) -> str:
    """The retry topic of one delay, as the flow writes it: ``orders.erp.retry.10s``."""
    return f"{flow}.{destination}{_RETRY}{delay}"


def dlq(flow: str, part: str) -> str:
    """The dead-letter topic of a destination or a source."""
    return f"{flow}.{part}{_DLQ}"


def calls(flow: str, destination: str) -> str:
    """The topic that says how each call of a destination's operations stands."""
    return f"{flow}.{destination}{_CALLS}"


def queries(flow: str, destination: str) -> str:
    """The topic of what a destination's system is asked, and nothing is changed by."""
    return f"{flow}.{destination}{_QUERIES}"


REPLIES = "trunkline.replies"
"""The topic of the answers of all queries."""


def operation(flow: str, destination: str, name: str) -> str:
    """What the schema of an operation's request is registered under, as a topic would be."""
    return f"{flow}.{destination}.{name}"


def positions(flow: str, source: str) -> str:
    """The topic of a source's positions."""
    return f"{flow}.{source}{_POSITIONS}"


def control(flow: str) -> str:
    """The compacted topic of a flow's state: what operators asked for, and what workers report."""
    return f"{flow}{_CONTROL}"


def audit(flow: str) -> str:
    """The audit topic: what operators did to the flow's destinations."""
    return f"{flow}.audit"


# Consumer groups and transactional ids


def sources_group(flow: str) -> str:
    """The consumer group of the workers that may run a flow's sources: each is run by one."""
    return f"{flow}.sources"


def source_transactional_id(flow: str, source: str) -> str:
    """The transactional id of a source, the same in every worker.

    Why: whoever runs the source next fences the one before, which may still be publishing.
    """
    return f"trunkline.{flow}.{source}"


def dlq_reader(topic: str) -> str:
    """The group that readers of a dead-letter topic name. None of them joins it or commits."""
    return f"{topic}.reader"


def transactional_ids(flow: str, role: str) -> str:
    """What the transactional ids begin with that workers make for a role: ``route``, or the name of
    a destination."""
    return f"trunkline.{flow}.{role}."


def route_group(flow: str) -> str:
    """The consumer group of the workers that route a flow."""
    return f"{flow}.route"


def delivery_group(flow: str, destination: str) -> str:
    """The consumer group of the workers that deliver to a destination."""
    return qualified(flow, destination)


def query_group(flow: str, destination: str) -> str:
    """The consumer group of the workers that ask a destination's system."""
    return queries(flow, destination)


GATEWAYS = "trunkline"
"""In place of a flow: what all gateways of a backbone have in common. Its control topic is theirs,
and its audit topic has what operators do to it."""

SHARES = "trunkline.shares"
"""The topic in which gateways divide the limits of their clients among themselves."""

ACCESSES = "trunkline.accesses"
"""The topic of who asked gateways for what, and what came of it."""

GATEWAY_GROUP = "trunkline.gateway"
"""The group that gateways name which read how calls stand. None of them joins it or commits."""

SCALER_GROUP = "trunkline.scaler"
"""The group that scalers name which read what waits. None of them joins it or commits."""

# Names taken apart


def flow_of_control(topic: str) -> str:
    """The flow of a control topic; "" for any other topic."""
    return topic.removesuffix(_CONTROL) if topic.endswith(_CONTROL) else ""


def is_inbox(topic: str) -> bool:
    """Whether a topic is a destination's inbox."""
    return topic.endswith(_INBOX)


def delay_of(topic: str) -> str:
    """The delay of a retry topic as the flow wrote it, ``10s``; "" for any other topic."""
    match = _TIER.fullmatch(topic) if _RETRY in topic else None
    return match[2] if match else ""


def inbox_of(topic: str) -> str:
    """The inbox that a retry topic belongs to; any other topic is its own."""
    match = _TIER.fullmatch(topic) if _RETRY in topic else None
    return f"{match[1]}{_INBOX}" if match else topic


def destination_of(topic: str) -> str:
    """``flow.destination`` of an inbox; "" for any other topic."""
    return topic.removesuffix(_INBOX) if is_inbox(topic) else ""


def writer_of_dlq(topic: str) -> str:
    """``flow.part`` of a dead-letter topic, its destination or source; "" for any other."""
    return topic.removesuffix(_DLQ) if topic.endswith(_DLQ) else ""


def source_of(topic: str) -> str:
    """``flow.source`` of a topic of positions; "" for any other topic."""
    return topic.removesuffix(_POSITIONS) if topic.endswith(_POSITIONS) else ""


def part_of_dlq(topic: str) -> str:
    """The destination or source, without its flow, of a dead-letter topic; "" for any other."""
    return topic.removesuffix(_DLQ).rpartition(".")[2] if topic.endswith(_DLQ) else ""


def destination_of_calls(topic: str) -> str:
    """The destination, without its flow, of a topic of calls."""
    return topic.removesuffix(_CALLS).rpartition(".")[2]


def part_of(topic: str, flow: str) -> str:
    """The destination or source of a flow that a topic is private to, by its name: ``erp`` of
    ``orders.erp.retry.10s``; "" for any other topic.

    A function's name holds no dots, so ``a.b.erp.inbox`` is flow a.b's and not flow a's.
    """
    rest = topic.removeprefix(f"{flow}.")
    if rest == topic:
        return ""
    if match := _TIER.fullmatch(topic):
        part = match[1].removeprefix(f"{flow}.")
    else:
        suffix = next(
            (end for end in (_INBOX, _DLQ, _POSITIONS, _CALLS, _QUERIES) if rest.endswith(end)), ""
        )
        part = rest.removesuffix(suffix) if suffix else ""
    return "" if "." in part else part


def is_positions(topic: str) -> bool:
    """Whether a topic is of a source's positions."""
    return topic.endswith(_POSITIONS)


def part_of_group(group: str, flow: str) -> str:
    """The destination, source or ``route`` of a flow that a consumer group is named by; ""
    for any other group."""
    part = group.removeprefix(f"{flow}.")
    return "" if part == group or "." in part else part


def is_tier_of(topic: str, flow: str, destination: str) -> bool:
    """Whether a topic is, or once was, a retry topic of this destination."""
    return delay_of(topic) != "" and inbox_of(topic) == inbox(flow, destination)
