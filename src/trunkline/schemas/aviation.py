"""The types of aviation, made by `trunkline schemas generate`:
change avro_schemas/aviation, not this file."""

# ruff: noqa: E501

from __future__ import annotations

import datetime
from typing import Literal, TypedDict

from trunkline.schemas.types import avro_type

FlightStatus = Literal["scheduled", "departed", "arrived", "cancelled"]
"""How far a flight has come. An older reader takes a symbol that it lacks for scheduled."""

Severity = Literal["info", "warning", "critical"]
"""How urgent something is. An older reader takes a symbol that it lacks for info."""


class BoardEntry(TypedDict):
    """A line of the display board of an airport."""

    id: str
    """The id of what is shown; a new entry of the same id replaces the old one."""
    airport: str
    """IATA code of the airport whose board it is."""
    text: str
    """What passengers read."""
    severity: Severity
    """How urgent it is: the board's colour."""


avro_type(
    BoardEntry,
    r"""
{"type": "record", "name": "aviation.BoardEntry", "doc": "A line of the display board of an airport.", "fields": [
{"name": "id", "type": "string", "doc": "The id of what is shown; a new entry of the same id replaces the old one."},
{"name": "airport", "type": "string", "doc": "IATA code of the airport whose board it is."},
{"name": "text", "type": "string", "doc": "What passengers read."},
{"name": "severity", "type": {"type": "enum", "name": "aviation.Severity", "doc": "How urgent something is. An older reader takes a symbol that it lacks for info.", "symbols": ["info", "warning", "critical"], "default": "info"}, "doc": "How urgent it is: the board's colour."}
]}
""",
)


class DelayAlert(TypedDict):
    """A flight so late that operations must know."""

    flight_id: str
    """The flight's id."""
    carrier: str
    """The airline's two-character IATA code."""
    origin: str
    """IATA code of the airport of departure."""
    destination: str
    """IATA code of the airport of arrival."""
    delay_minutes: int
    """The longer one of the departure's and the arrival's delay."""
    status: FlightStatus
    """How far the flight has come."""


avro_type(
    DelayAlert,
    r"""
{"type": "record", "name": "aviation.DelayAlert", "doc": "A flight so late that operations must know.", "fields": [
{"name": "flight_id", "type": "string", "doc": "The flight's id."},
{"name": "carrier", "type": "string", "doc": "The airline's two-character IATA code."},
{"name": "origin", "type": "string", "doc": "IATA code of the airport of departure."},
{"name": "destination", "type": "string", "doc": "IATA code of the airport of arrival."},
{"name": "delay_minutes", "type": "int", "doc": "The longer one of the departure's and the arrival's delay."},
{"name": "status", "type": {"type": "enum", "name": "aviation.FlightStatus", "doc": "How far a flight has come. An older reader takes a symbol that it lacks for scheduled.", "symbols": ["scheduled", "departed", "arrived", "cancelled"], "default": "scheduled"}, "doc": "How far the flight has come."}
]}
""",
)


class DelayCorrection(TypedDict):
    """What the desk knows better about a flight's delay."""

    flight_id: str
    """The flight's id."""
    delay_minutes: int
    """The delay that is expected now."""
    reason: str
    """Why it is another one."""


avro_type(
    DelayCorrection,
    r"""
{"type": "record", "name": "aviation.DelayCorrection", "doc": "What the desk knows better about a flight's delay.", "fields": [
{"name": "flight_id", "type": "string", "doc": "The flight's id."},
{"name": "delay_minutes", "type": "int", "doc": "The delay that is expected now."},
{"name": "reason", "type": "string", "doc": "Why it is another one."}
]}
""",
)


class Flight(TypedDict):
    """A flight on one day, as far as it has come."""

    id: str
    """Day, carrier, number and origin: 2013-01-01-UA-1545-EWR; the key of its events."""
    carrier: str
    """The airline's two-character IATA code."""
    flight_number: int
    """The airline's number of the connection."""
    tail_number: str | None
    """The aircraft's registration; null where nobody recorded it."""
    origin: str
    """IATA code of the airport of departure."""
    destination: str
    """IATA code of the airport of arrival."""
    scheduled_departure: datetime.datetime
    """When it should depart, UTC."""
    scheduled_arrival: datetime.datetime
    """When it should arrive, UTC."""
    departure_delay_minutes: int | None
    """How late it departed, negative if early; null before the departure."""
    arrival_delay_minutes: int | None
    """How late it arrived, negative if early; null before the arrival."""
    status: FlightStatus
    """How far the flight has come."""
    distance_miles: int
    """The distance between the two airports."""
    air_time_minutes: int | None
    """The time in the air; null before the arrival."""


avro_type(
    Flight,
    r"""
{"type": "record", "name": "aviation.Flight", "doc": "A flight on one day, as far as it has come.", "fields": [
{"name": "id", "type": "string", "doc": "Day, carrier, number and origin: 2013-01-01-UA-1545-EWR; the key of its events."},
{"name": "carrier", "type": "string", "doc": "The airline's two-character IATA code."},
{"name": "flight_number", "type": "int", "doc": "The airline's number of the connection."},
{"name": "tail_number", "type": ["null", "string"], "default": null, "doc": "The aircraft's registration; null where nobody recorded it."},
{"name": "origin", "type": "string", "doc": "IATA code of the airport of departure."},
{"name": "destination", "type": "string", "doc": "IATA code of the airport of arrival."},
{"name": "scheduled_departure", "type": {"type": "long", "logicalType": "timestamp-millis"}, "doc": "When it should depart, UTC."},
{"name": "scheduled_arrival", "type": {"type": "long", "logicalType": "timestamp-millis"}, "doc": "When it should arrive, UTC."},
{"name": "departure_delay_minutes", "type": ["null", "int"], "default": null, "doc": "How late it departed, negative if early; null before the departure."},
{"name": "arrival_delay_minutes", "type": ["null", "int"], "default": null, "doc": "How late it arrived, negative if early; null before the arrival."},
{"name": "status", "type": {"type": "enum", "name": "aviation.FlightStatus", "doc": "How far a flight has come. An older reader takes a symbol that it lacks for scheduled.", "symbols": ["scheduled", "departed", "arrived", "cancelled"], "default": "scheduled"}, "doc": "How far the flight has come."},
{"name": "distance_miles", "type": "int", "doc": "The distance between the two airports."},
{"name": "air_time_minutes", "type": ["null", "int"], "default": null, "doc": "The time in the air; null before the arrival."}
]}
""",
)


class Notice(TypedDict):
    """A notice of an airport's staff, sent to our webhook."""

    id: str
    """The sender's id of the notice; the key of its events."""
    airport: str
    """IATA code of the airport that it concerns."""
    severity: Severity
    """How urgent it is."""
    text: str
    """What passengers are to read."""
    issued_at: datetime.datetime
    """When it was issued, UTC."""


avro_type(
    Notice,
    r"""
{"type": "record", "name": "aviation.Notice", "doc": "A notice of an airport's staff, sent to our webhook.", "fields": [
{"name": "id", "type": "string", "doc": "The sender's id of the notice; the key of its events."},
{"name": "airport", "type": "string", "doc": "IATA code of the airport that it concerns."},
{"name": "severity", "type": {"type": "enum", "name": "aviation.Severity", "doc": "How urgent something is. An older reader takes a symbol that it lacks for info.", "symbols": ["info", "warning", "critical"], "default": "info"}, "doc": "How urgent it is."},
{"name": "text", "type": "string", "doc": "What passengers are to read."},
{"name": "issued_at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "doc": "When it was issued, UTC."}
]}
""",
)
