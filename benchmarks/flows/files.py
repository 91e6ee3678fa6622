"""The files job: the rows of files become canonical events."""

from datetime import datetime

from benchmarks.shop import ShopRow, canonical
from trunkline import Flow, Params, Record
from trunkline.connectors.files import Csv, FileFormat, FileSource, JsonLines, Parquet


class Env(Params):
    folder: str
    form: str


FORMATS: dict[str, FileFormat] = {
    "csv": Csv(),
    "jsonl": JsonLines(),
    "parquet": Parquet(),
}
flow = Flow("filebench", Env)


@flow.source
def shop(env: Env) -> FileSource:
    return FileSource(
        env.folder, f"*.{env.form}", format=FORMATS[env.form], key="id", settle="0s", interval="1s"
    )


@flow.topic("filebench.orders", source=shop)
def orders(row: Record) -> ShopRow:
    data = row.data
    if isinstance(data["updated_at"], datetime):
        return canonical(data)
    return ShopRow(
        id=int(data["id"]),
        status=data["status"],
        customer=data["customer"],
        total_cents=int(data["total_cents"]),
        note=data["note"] or None,
        updated_at=datetime.fromisoformat(data["updated_at"]),
    )
