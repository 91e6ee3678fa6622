"""Many topics of one partition, followed by one consumer in one thread.

A process that runs fifty flows follows fifty control topics. Each with a consumer of its own would
be 150 threads and 100 connections that wait.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from contextlib import closing
from typing import Protocol

from confluent_kafka import Consumer, Message, TopicPartition

from trunkline.kafka.clients import consumer
from trunkline.kafka.reading import READ, poll
from trunkline.params import Backbone

log = logging.getLogger(__name__)

POLL_TIMEOUT = 0.2
"""Seconds that one poll waits: how late a topic is followed, and a stop noticed."""


class TopicListener(Protocol):
    """Whom a follower tells of a topic. Called from the follower's thread."""

    def on_records(self, records: list[Message]) -> None:
        """Records of the topic, in order."""

    def on_lost(self, failure: BaseException) -> None:
        """The topic is followed no more: the client can never go on."""


class TopicFollower:
    """Follows topics of one partition for their listeners. Its methods may be called from any
    thread; the consumer is the follower's own thread's, which runs while there is a topic.

    A broker that goes away is waited for. A client that can never go on is told to all listeners,
    and whoever follows next gets a new one.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._lock = threading.Lock()
        self._listeners: dict[str, tuple[int, TopicListener]] = {}
        self._added: list[TopicPartition] = []
        self._removed: list[TopicPartition] = []
        self._running = False

    def follow(self, topic: str, start: int, listener: TopicListener) -> None:
        """Tell the listener of the topic's records from the offset ``start`` on."""
        with self._lock:
            assert topic not in self._listeners, f"{topic} is followed already"
            self._listeners[topic] = start, listener
            self._added.append(TopicPartition(topic, 0, start))
            if not self._running:
                self._running = True
                run = threading.Thread(target=self._run, args=[topic], name="follow", daemon=True)
                run.start()

    def leave(self, topic: str) -> None:
        """Follow it no more; its listener hears at the most of what is on its way."""
        with self._lock:
            if self._listeners.pop(topic, None) is not None:
                # One that the thread has not seen yet is simply not begun.
                fresh = [at for at in self._added if at.topic == topic]
                self._added = [at for at in self._added if at.topic != topic]
                self._removed += [] if fresh else [TopicPartition(topic, 0)]

    def _run(self, group: str) -> None:
        try:
            with closing(consumer(self._backbone, group)) as client:
                while self._changed(client):
                    arrived, _ = poll(client, READ, POLL_TIMEOUT)
                    self._hand_on(arrived)
        # Whatever it is: flows that hear of no command any more would look well.
        except Exception as failure:
            log.exception("topics cannot be followed")
            with self._lock:
                listeners, self._listeners = self._listeners, {}
                self._added, self._removed, self._running = [], [], False
            for _, listener in listeners.values():
                listener.on_lost(failure)

    def _changed(self, client: Consumer) -> bool:
        """Take up and leave topics; returns whether there are any."""
        with self._lock:
            added, self._added = self._added, []
            removed, self._removed = self._removed, []
            self._running = bool(self._listeners)
        # First those that end: one that was left and is followed anew is in both.
        if removed:
            client.incremental_unassign(removed)
        if added:
            client.incremental_assign(added)
        return self._running

    def _hand_on(self, arrived: list[Message]) -> None:
        records: defaultdict[str, list[Message]] = defaultdict(list)
        for message in arrived:
            if message.error() is None:
                records[message.topic() or ""].append(message)
        for topic, found in records.items():
            with self._lock:
                start, listener = self._listeners.get(topic, (0, None))
            # A topic that was left and is followed anew may still bring what stands before.
            fresh = [message for message in found if (message.offset() or 0) >= start]
            if listener is not None and fresh:
                listener.on_records(fresh)
