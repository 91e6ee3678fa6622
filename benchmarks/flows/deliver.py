"""The deliver and recovery jobs: what waits in an inbox reaches an HTTP API, in order per key."""

from benchmarks.orders import Activity
from trunkline import Event, Flow, Params
from trunkline.connectors.http import HttpSink


class Env(Params):
    api: str
    calls: int


flow = Flow("deliverbench", Env)

orders = flow.existing_topic("deliverbench.orders", Activity)


def path(event: Event[Activity]) -> str:
    """The API checks each key's order by the event's id."""
    return f"?id={event.id}"


@flow.destination
def api(env: Env) -> HttpSink[Activity]:
    return HttpSink(env.api, Activity, path=path, concurrency=env.calls)


@flow.route(orders, to=api)
def everything(event: Event[Activity]) -> Activity:
    return event.data
