"""The files job's large file: of its long rows the key and a little more become events."""

from datetime import UTC, datetime

from benchmarks.shop import ShopRow
from trunkline import Flow, Params, Record
from trunkline.connectors.files import FileSource


class Env(Params):
    folder: str


flow = Flow("largefile", Env)


@flow.source
def shop(env: Env) -> FileSource:
    return FileSource(env.folder, "*.csv", key="id", settle="0s", interval="1s")


@flow.topic("largefile.orders", source=shop)
def orders(row: Record) -> ShopRow:
    return ShopRow(
        id=int(row.data["id"]),
        status="placed",
        customer=row.data["customer"],
        total_cents=len(row.data["note"]),
        note=None,
        updated_at=datetime(2026, 11, 30, tzinfo=UTC),
    )
