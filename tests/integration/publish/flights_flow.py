"""A flow that reads a year's flights from PostgreSQL as they are. ``FLOW`` names it, ``DSN`` the
database."""

import json
import os
from datetime import datetime
from typing import TypedDict

from trunkline import Flow, Params, Record, Secret
from trunkline.connectors.postgres import PostgresCDC
from trunkline.schemas.types import avro_type

NAME = os.environ["FLOW"]


class Departure(TypedDict):
    """A line of the file; delays and times in the air in minutes, times as 517 for 5:17."""

    id: str
    year: int
    month: int
    day: int
    dep_time: int | None
    sched_dep_time: int
    dep_delay: int | None
    arr_time: int | None
    sched_arr_time: int
    arr_delay: int | None
    carrier: str
    flight: int
    tailnum: str | None
    origin: str
    dest: str
    air_time: int | None
    distance: int
    hour: int
    minute: int
    time_hour: datetime


TYPES = {
    int: "int",
    str: "string",
    int | None: ["null", "int"],
    str | None: ["null", "string"],
    datetime: {"type": "long", "logicalType": "timestamp-millis"},
}
FIELDS = [{"name": name, "type": TYPES[type_]} for name, type_ in Departure.__annotations__.items()]
avro_type(Departure, json.dumps({"type": "record", "name": "Departure", "fields": FIELDS}))


class Env(Params):
    dsn: Secret


flow = Flow(NAME, Env)


@flow.source
def airport(env: Env) -> PostgresCDC:
    return PostgresCDC(env.dsn, tables=["flights"], slot=NAME.replace("-", "_"))


@flow.topic(f"{NAME}.flights", source=airport)
def flights(row: Record) -> Departure:
    return Departure(**row.data)  # type: ignore[typeddict-item]  # as many as the table's columns
