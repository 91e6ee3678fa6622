"""``trunkline events``: the records of a topic, decoded."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer

from trunkline.admin.browsing import TopicBrowser, TopicRecord, without_value
from trunkline.cli.environment import backbone_of
from trunkline.cli.options import TIME_HELP, EnvOption, JsonOption, bound_of
from trunkline.cli.output import dumped
from trunkline.errors import ConfigurationError
from trunkline.headers import TL_ATTEMPT, TL_DUE_AT, TL_ERROR, TL_ERROR_CLASS
from trunkline.masking import escaped
from trunkline.streams.dlq.letters import printable

MAX_SHOWN = 4_000
"""Characters of a value that are shown to a person; --json shows all of it."""
MOST = 10_000
"""The largest --limit: so many records are in memory at once."""
EARLIEST = "earliest"


def events(
    topic: Annotated[str, typer.Argument(help="Any topic of the backbone.", show_default=False)],
    key: Annotated[str | None, typer.Option(help="Of this key only.")] = None,
    partition: Annotated[int | None, typer.Option(min=0, help="Of this one only.")] = None,
    from_: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="TIME|OFFSET",
            help="The first ones since then: earliest, an offset of each partition, or a time: "
            f"{TIME_HELP} By default the newest ones.",
        ),
    ] = "",
    to: Annotated[
        str, typer.Option(metavar="TIME|OFFSET", help="Those before then; likewise.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="At most so many.")] = 20,
    values: Annotated[
        bool, typer.Option("--values/--no-values", help="Whether to show what is in them.")
    ] = True,
    follow: Annotated[
        bool, typer.Option("--follow", help="Then show what comes, until Ctrl-C.")
    ] = False,
    as_json: JsonOption = False,
    env: EnvOption = None,
) -> None:
    """Show a topic's records, decoded.

    Canonical events, and those of inboxes, retry topics and dead-letter queues. Values are shown as
    they are. What cannot be decoded is told with the reason. Joins no group, changes nothing.
    """
    if follow and to:
        raise ConfigurationError("--follow has no end: leave --to out")
    backbone = backbone_of(env)
    with TopicBrowser(backbone, topic, key=key, partition=partition) as browser:
        ranges = browser.ranges(bound_of("0" if from_ == EARLIEST else from_), bound_of(to))
        found = browser.first(ranges, limit) if from_ else browser.newest(ranges, limit)
        _show(found, as_json=as_json, values=values)
        if not found and not follow and not as_json:
            typer.echo(f"{topic}: nothing of that is there")
        if follow:
            starts = {place: span.stop for place, span in ranges.items()}
            try:
                _show(browser.follow(starts, threading.Event()), as_json=as_json, values=values)
            except KeyboardInterrupt:
                return


def _show(found: Iterable[TopicRecord], *, as_json: bool, values: bool) -> None:
    for record in found:
        shown = record if values else without_value(record)
        if as_json:
            typer.echo(dumped(record_as_json(shown), indent=False))
            continue
        for line in record_in_words(shown, values=values):
            typer.echo(escaped(line))


def record_in_words(record: TopicRecord, *, values: bool = True) -> Iterator[str]:
    """A record as a person reads it: where, when and what; how it failed; its value."""
    change = "deleted" if record.change == "delete" else record.change
    about = (record.type, change, f"key {record.shown_key}" if record.key is not None else "no key")
    at = record.written.strftime("%Y-%m-%d %H:%M:%SZ")
    id_ = f"id {record.id}" if record.id else ""
    yield "  ".join(filter(None, (f"{record.partition}/{record.offset}", at, *about, id_)))
    if error := record.header(TL_ERROR_CLASS):
        due = f", due {record.header(TL_DUE_AT)}" if record.header(TL_DUE_AT) else ""
        attempts = record.header(TL_ATTEMPT) or "0"
        yield f"    failed {attempts} times{due}: {error}: {record.header(TL_ERROR)}"
    if not values or record.size is None:
        return
    if record.value.unreadable is not None:
        yield f"    not readable ({record.size:,} bytes): {record.value.unreadable}"
        return
    text = dumped(record.value.data, indent=False)
    cut = f" … ({len(text):,} characters; --json shows all)" if len(text) > MAX_SHOWN else ""
    yield f"    {text[:MAX_SHOWN]}{cut}"


def record_as_json(record: TopicRecord) -> dict[str, Any]:
    """A record in a line of ``--json``. Of a value that cannot be read ``value`` is null, and
    ``unreadable`` says why; ``size`` is null of a record without a value."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "time": record.written,
        "key": None if record.key is None else record.shown_key,
        "id": record.id,
        "type": record.type,
        "source": record.source,
        "change": record.change,
        "headers": [[name, printable(raw)] for name, raw in record.headers],
        "size": record.size,
        "value": record.value.data,
        "unreadable": record.value.unreadable,
    }
