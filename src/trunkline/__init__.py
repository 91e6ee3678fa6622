"""Trunkline: an enterprise integration backbone on Kafka, flows as Python code.

This module is the public face: what stands here stays.
"""

from trunkline.connectors.base import HttpRequest
from trunkline.errors import (
    ConfigurationError,
    PartialFailure,
    Rejected,
    Retryable,
    TrunklineError,
    Unavailable,
)
from trunkline.event import Change, Event, Record
from trunkline.params import Params, Secret
from trunkline.streams.flow.alert import Alert
from trunkline.streams.flow.circuit_breaker import CircuitBreaker
from trunkline.streams.flow.dead_letter_limit import DeadLetterLimit
from trunkline.streams.flow.definition import Flow
from trunkline.streams.flow.imported import OpenAPI
from trunkline.streams.flow.messages import Delete, Message
from trunkline.streams.flow.operation import Call
from trunkline.streams.flow.retry import Retry
from trunkline.streams.flow.system import System
from trunkline.streams.flow.table import Index, Table

__version__ = "0.1.0"

__all__ = [
    "Alert",
    "Call",
    "Change",
    "CircuitBreaker",
    "ConfigurationError",
    "DeadLetterLimit",
    "Delete",
    "Event",
    "Flow",
    "HttpRequest",
    "Index",
    "Message",
    "OpenAPI",
    "Params",
    "PartialFailure",
    "Record",
    "Rejected",
    "Retry",
    "Retryable",
    "Secret",
    "System",
    "Table",
    "TrunklineError",
    "Unavailable",
    "__version__",
]
