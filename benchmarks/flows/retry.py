"""The retry job: every event fails once, and is due again after five seconds."""

from benchmarks.orders import Activity
from trunkline import Event, Flow, Params, Retry
from trunkline.connectors.http import HttpSink


class Env(Params):
    api: str
    calls: int


flow = Flow("retrybench", Env)

orders = flow.existing_topic("retrybench.orders", Activity)


def path(event: Event[Activity]) -> str:
    """The API checks each key's order by the event's id."""
    return f"?id={event.id}"


@flow.destination(retry=Retry("5s", "1m", jitter=0))
def api(env: Env) -> HttpSink[Activity]:
    return HttpSink(env.api, Activity, path=path, concurrency=env.calls)


@flow.route(orders, to=api)
def everything(event: Event[Activity]) -> Activity:
    return event.data
