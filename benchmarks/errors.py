"""What can go wrong in a benchmark."""

from __future__ import annotations

from confluent_kafka import KafkaException

from trunkline.errors import TrunklineError


class BenchmarkError(TrunklineError):
    """A system did not do its work; the message has the end of its log where there is one."""


class Skipped(TrunklineError):
    """A peer cannot run on this machine; the table says why."""


FAILURES = (BenchmarkError, Skipped, KafkaException)
"""What costs one system its figures, and not the whole run."""
