"""Flights of an airport's own system reach operations, the data mart and the display board.

`make demo` runs this flow on real flights.
"""

from datetime import datetime
from urllib.parse import quote

from trunkline import Call, CircuitBreaker, Event, Flow, HttpRequest, Params, Record, Secret
from trunkline.connectors.http import HttpSink
from trunkline.connectors.postgres import PostgresCDC
from trunkline.connectors.sql import SqlSink
from trunkline.connectors.webhook import WebhookSource
from trunkline.schemas.aviation import (
    BoardEntry,
    DelayAlert,
    DelayCorrection,
    Flight,
    FlightStatus,
    Notice,
)

LATE_MINUTES = 60
STATUS: dict[str, FlightStatus] = {
    "S": "scheduled",
    "D": "departed",
    "A": "arrived",
    "X": "cancelled",
}
"""The airport system's codes in canonical words."""


class Env(Params):
    airport_dsn: Secret
    operations_url: str
    mart_url: Secret
    board_url: str
    notices_port: int = 8085
    notices_token: Secret


flow = Flow("airport", Env)


@flow.source
def airport_system(env: Env) -> PostgresCDC:
    return PostgresCDC(env.airport_dsn, tables=["public.flights"])


@flow.source
def notice_desk(env: Env) -> WebhookSource:
    return WebhookSource(
        port=env.notices_port, path="/notices", key="id", token=env.notices_token, stream="notices"
    )


@flow.topic("aviation.flights", source=airport_system)
def flights(row: Record) -> Flight:
    """The airport's columns in the words that every system understands."""
    data = row.data
    return Flight(
        id=row.key,
        carrier=data["carrier"],
        flight_number=data["flight"],
        tail_number=data["tailnum"],
        origin=data["origin"],
        destination=data["dest"],
        scheduled_departure=data["sched_dep"],
        scheduled_arrival=data["sched_arr"],
        departure_delay_minutes=data["dep_delay"],
        arrival_delay_minutes=data["arr_delay"],
        status=STATUS[data["state"]],
        distance_miles=data["distance"],
        air_time_minutes=data["air_time"],
    )


@flow.topic("aviation.notices", source=notice_desk)
def notices(call: Record) -> Notice:
    data = call.data
    return Notice(
        id=call.key,
        airport=data["airport"],
        severity=data["severity"],
        text=data["text"],
        issued_at=datetime.fromisoformat(data["issued_at"]),
    )


@flow.destination(breaker=CircuitBreaker(open="1s", longest="2s", slow_start="2s"))
def operations(env: Env) -> HttpSink[DelayAlert]:
    return HttpSink(env.operations_url, DelayAlert, path="/delays")


@flow.destination
def mart(env: Env) -> SqlSink[Flight]:
    return SqlSink(env.mart_url, Flight, table="flights", key="id", create_table=True)


@flow.destination
def board(env: Env) -> HttpSink[BoardEntry]:
    return HttpSink(env.board_url, BoardEntry, method="PUT", path="/entries/{id}")


@flow.operation(to=operations, verb="correct", resource="delays", key="flight_id", wait="5s")
def correct_delay(call: Call[DelayCorrection]) -> HttpRequest:
    """Tell operations a delay that the desk knows better."""
    path = f"/corrections/{quote(call.data['flight_id'], safe='')}"
    return HttpRequest("PUT", path, json=call.data)


@flow.route(flights, to=operations)
def late(flight: Event[Flight]) -> DelayAlert | None:
    """Operations hear of flights that are more than an hour late."""
    data = flight.data
    delay = max(data["departure_delay_minutes"] or 0, data["arrival_delay_minutes"] or 0)
    if delay <= LATE_MINUTES:
        return None
    return DelayAlert(
        flight_id=data["id"],
        carrier=data["carrier"],
        origin=data["origin"],
        destination=data["destination"],
        delay_minutes=delay,
        status=data["status"],
    )


@flow.route(flights, to=mart)
def history(flight: Event[Flight]) -> Flight:
    """The mart keeps every flight as it stands; what the airport deletes goes there too."""
    return flight.data


@flow.route(flights, to=board)
def cancelled(flight: Event[Flight]) -> BoardEntry | None:
    """Passengers read at the airport of departure that their flight is cancelled."""
    data = flight.data
    if data["status"] != "cancelled":
        return None
    name = f"{data['carrier']} {data['flight_number']}"
    return BoardEntry(
        id=data["id"],
        airport=data["origin"],
        text=f"{name} to {data['destination']} is cancelled",
        severity="critical",
    )


@flow.route(notices, to=board)
def shown(notice: Event[Notice]) -> BoardEntry:
    """What the staff sends is shown as it is."""
    data = notice.data
    return BoardEntry(
        id=data["id"], airport=data["airport"], text=data["text"], severity=data["severity"]
    )
