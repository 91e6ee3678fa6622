"""The names of the headers that events carry, each spelled here and nowhere else.

``CE_…`` are CloudEvents attributes in the Kafka protocol binding, binary content mode
(cloudevents/spec, ``kafka-protocol-binding.md``). ``TL_…`` are Trunkline's own. All values are
UTF-8 text, moments are ISO 8601 in UTC. Tables: docs/concepts.md, delivery.md, dead-letters.md.
"""

from __future__ import annotations

CE_SPECVERSION = "ce_specversion"
CE_ID = "ce_id"
CE_SOURCE = "ce_source"
CE_TYPE = "ce_type"
CE_TIME = "ce_time"
CE_SUBJECT = "ce_subject"
CONTENT_TYPE = "content-type"
TRACEPARENT = "traceparent"
"""W3C Trace Context; one, replaced at each hop and never appended."""

TL_CHANGE = "tl_change"
"""``create``, ``update``, ``delete``, ``snapshot`` or ``truncate``."""

# Delivery, replaced at each hop

TL_ORIGIN = "tl_origin"
"""How the record came: ``original``, ``retry``, ``replay``, ``redrive`` or ``operation``."""
TL_FROM = "tl_from"
"""The canonical record that it was routed from, by which route, and which of that route's messages
it is: ``topic/partition/offset/route/part``."""
TL_EVENT_KEY = "tl_event_key"
"""The key of the canonical event, where a route gave the message another one."""
TL_SEQ = "tl_seq"
"""The offset in the inbox: within a key it grows."""
TL_ATTEMPT = "tl_attempt"
"""How many attempts failed."""
TL_DUE_AT = "tl_due_at"
"""When the next attempt may be made, rounded up to a millisecond."""
TL_FIRST_FAILED_AT = "tl_first_failed_at"
TL_ERROR_CLASS = "tl_error_class"
TL_ERROR = "tl_error"
TL_HALTED = "tl_halted"
"""``1`` for an event that halts its key (``on_dead="halt"``), and for its dead letter."""
TL_REPLAY_ID = "tl_replay_id"
"""The replay or re-drive that sent the record."""

# Calls of operations

TL_OPERATION = "tl_operation"
"""The operation that the record calls; its value is the operation's request."""
TL_CLIENT = "tl_client"
"""Who called: a client's name, as ``access.toml`` has it."""
TL_FINGERPRINT = "tl_fingerprint"
"""SHA-256 of what was asked for: a repeated call has the same one."""
TL_ACCEPTED_AT = "tl_accepted_at"
TL_EXPIRES_AT = "tl_expires_at"
"""When a call that was not attempted by then is given up."""

# Dead letters

TL_DEAD_FROM = "tl_dead_from"
"""Where the dead record was: ``topic/partition/offset``."""
TL_DEAD_AT = "tl_dead_at"
TL_STAGE = "tl_stage"
"""Where it died: ``publish``, ``route`` or ``deliver``."""
TL_CAUSE = "tl_cause"
"""What all dead letters of this reason have in common, if the error tells it."""
TL_VIOLATIONS = "tl_violations"
"""The rules of its type's schema that the event breaks: a JSON list of ``rule``, ``field`` and
``message``."""
TL_PERSONAL = "tl_personal"
"""Of a source's dead letter, which is its record as JSON: the names of fields whose values are
shown to nobody, with commas between them."""
TL_TRACEBACK = "tl_traceback"
TL_FLOW_VERSION = "tl_flow_version"
TL_RAW = "tl_raw"
"""Of a source's: ``{"cut": …, "notes": …}`` of bytes that it could not read; ``cut`` also of a
record that was too large."""
TL_REDRIVEN = "tl_redriven"
"""Of an event that was made of a source's dead letter: when that letter was written."""
TL_ORDER = "tl_order"
"""Of a source's dead letter, and of the events that follow it closely: a number that grows, by
which of the two came first within a millisecond."""
TL_TYPES = "tl_types"
"""Of a source's record as JSON: which of its texts are decimals, times, bytes, by JSON pointers."""
