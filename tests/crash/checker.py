"""What "nothing missing, nothing out of order, duplicates bounded" means, as functions.

An event repeated after a crash is no disorder as long as its followers are repeated too: from one
delivery of a key to the next it goes one event forward, or back to an earlier one, and it ends on
the last. So a destination that keeps the newest of what it gets never ends on an older state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from confluent_kafka import Message

from worker_kit import Delivery, Destination, header

T = TypeVar("T")


def by_key(items: Iterable[T], key: Callable[[T], str]) -> dict[str, list[T]]:
    """Items apart by their key, in their order."""
    lanes: dict[str, list[T]] = defaultdict(list)
    for item in items:
        lanes[key(item)].append(item)
    return dict(lanes)


def ids_by_key(messages: Iterable[Message]) -> dict[str, list[str]]:
    """The event ids that stand in a topic, by key and in their order."""
    lanes = by_key(messages, lambda message: (message.key() or b"").decode())
    return {key: [header(m, "ce_id") for m in lane] for key, lane in lanes.items()}


def disorder(expected: Sequence[str], arrived: Sequence[str]) -> str:
    """What is wrong with the deliveries of one key, "" if nothing is. What is in the topic twice (a
    row of a snapshot that was killed) has the place of the first."""
    place = {id_: number for number, id_ in enumerate(dict.fromkeys(expected))}
    if missing := place.keys() - set(arrived):
        return f"missing: {sorted(missing)}"
    if unknown := set(arrived) - place.keys():
        return f"never sent: {sorted(unknown)}"
    before = -1
    for number in (place[id_] for id_ in arrived):
        if number > before + 1:
            return f"event {number} came after event {before}"
        before = number
    return "" if before == len(place) - 1 else f"ends on event {before} of {len(place)}"


def disorders(
    expected: Mapping[str, Sequence[str]], deliveries: Iterable[Delivery]
) -> dict[str, str]:
    """What is wrong, by key; {} if nothing is."""
    arrived = {
        key: [delivery.id for delivery in lane]
        for key, lane in by_key(deliveries, lambda delivery: delivery.key).items()
    }
    found = {
        key: disorder(expected.get(key, ()), arrived.get(key, ()))
        for key in expected.keys() | arrived.keys()
    }
    return {key: fault for key, fault in found.items() if fault}


def through(expected: Mapping[str, Sequence[str]], destination: Destination) -> bool:
    """Whether the newest delivery of each key is its last event: what is repeated has come to its
    end, too."""
    newest = {delivery.key: delivery.id for delivery in list(destination.deliveries)}
    return newest == {key: lane[-1] for key, lane in expected.items()}


@dataclass(frozen=True, slots=True)
class Repeats:
    """Repeated deliveries by the kill that explains them, and how many nothing explains."""

    by_kill: dict[float, int]
    unexplained: int

    @property
    def total(self) -> int:
        return sum(self.by_kill.values()) + self.unexplained


def repeats(deliveries: Sequence[Delivery], kills: Sequence[float]) -> Repeats:
    """Each repeat is of the newest kill between an event's delivery before and this one."""
    seen: dict[str, float] = {}
    explained: dict[float, int] = dict.fromkeys(kills, 0)
    unexplained = 0
    for delivery in deliveries:
        if delivery.id in seen:
            between = [kill for kill in kills if seen[delivery.id] <= kill <= delivery.at]
            if between:
                explained[max(between)] += 1
            else:
                unexplained += 1
        seen[delivery.id] = delivery.at
    return Repeats(explained, unexplained)
