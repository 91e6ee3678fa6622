"""What every source with a position must do, as ``connectors/base.py`` says it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from trunkline.connectors.base import Batch, Position, Source
from trunkline.connectors.contract.tools import PATIENCE, leaves_nothing, skip
from trunkline.errors import SourceError
from trunkline.event import Record

MARK = "mark"
Enough = Callable[[Sequence[Record]], bool]

STOP_SECONDS = 0.5
"""How long a source may go on once ``stop`` is set."""
IDLE_SECONDS = 0.5
"""How long a source waits for changes before it is told to stop."""
GRACE = 1.0
"""What a busy machine may add to that."""


class SourceContract:
    """Acceptance suite of a source with a position. Subclass it, give ``source``, ``put``,
    ``unreachable_source``, and ``remove`` if the system deletes.

    Each test begins with an empty system, as with ``SinkContract``. ``source`` is called several
    times in one test: all of them read the same system, one after the other.
    """

    secrets: Sequence[str] = ()
    """What ``unreachable_source`` was given and no error may show."""
    deletes = True
    """Whether the source sees deletes (polling by timestamp does not)."""
    every_state = True
    """Whether the source sees each state of an entity; a source that compares sees the newest at
    each look, and what was overwritten between two never."""
    one_order = True
    """Whether changes of all keys come in one order, the same whenever they are read again. Where
    not, as of a topic's partitions, those of one key do."""

    def source(self) -> Source:
        """A new source on the system under test."""
        raise NotImplementedError

    def put(self, key: str, revision: int) -> None:
        """Create the entity in the system, or change it to this revision, in one transaction."""
        raise NotImplementedError

    def remove(self, key: str) -> None:
        """Delete the entity in the system."""
        raise NotImplementedError

    def unreachable_source(self) -> Source:
        """A source whose system does not answer."""
        raise NotImplementedError

    def revision(self, record: Record) -> int:
        """The revision that ``put`` wrote, as the record holds it."""
        return int(record.data["revision"])

    # What the tests use; not to be overridden.

    def state(self, records: Sequence[Record]) -> dict[str, int]:
        """What the records add up to: the newest revision by key."""
        found: dict[str, int] = {}
        for record in records:
            if record.change == "delete":
                found.pop(record.key, None)
            else:
                found[record.key] = self.revision(record)
        return found

    def adds_up_to(self, expected: dict[str, int]) -> Enough:
        """Tells of records whether their ``state`` is exactly ``expected``."""
        return lambda records: self.state(records) == expected

    def begun(self, *, acknowledge: bool = False, **expected: int) -> list[Batch]:
        """Put what is expected and read it, and then a change made meanwhile, the mark: so the
        snapshot, if there is one, is over."""
        for key, revision in expected.items():
            self.put(key, revision)
        marked = False

        def enough(records: Sequence[Record]) -> bool:
            nonlocal marked
            state = self.state(records)
            if not marked and state == expected:
                marked = True
                self.put(MARK, 1)
            return MARK in state

        with _opened(self.source()) as source:
            return _read(source, None, enough, acknowledge=acknowledge)

    def history(self) -> list[Batch]:
        """The batches of three entities, and of what then becomes of them."""
        batches = self.begun(a=1, b=1, c=1)
        self.put("d", 1)
        self.put("a", 2)
        expected = {"a": 2, "b": 1, "c": 1, "d": 1, MARK: 1}
        if not self.every_state:
            batches = self._read_on(batches, expected)
        self.put("a", 3)
        expected["a"] = 3
        if self.deletes:
            self.remove("b")
            del expected["b"]
        return self._read_on(batches, expected)

    def _read_on(self, batches: list[Batch], expected: dict[str, int]) -> list[Batch]:
        """The batches, and those behind them until all add up to what is expected."""
        before, enough = _records(batches), self.adds_up_to(expected)
        with _opened(self.source()) as source:
            return batches + _read(
                source, batches[-1].position, lambda more: enough([*before, *more])
            )

    # The tests.

    def test_it_begins_with_what_is_there(self) -> None:
        self.put("a", 1)
        self.put("b", 2)
        with _opened(self.source()) as source:
            records = _records(_read(source, None, self.adds_up_to({"a": 1, "b": 2})))
        assert sorted(record.key for record in records) == ["a", "b"], "each of them once"

    def test_changes_come_in_order_without_gaps(self) -> None:
        seen = [
            (r.key, r.change, self.revision(r)) for r in _records(self.history()) if r.key in "ad"
        ]
        assert [revision for key, _, revision in seen if key == "a"] == [1, 2, 3]
        assert [revision for key, _, revision in seen if key == "d"] == [1]

    def test_a_delete_is_a_record_with_its_key(self) -> None:
        if not self.deletes:
            skip("the source does not see deletes")
        records = [record for record in _records(self.history()) if record.key == "b"]
        assert records[-1].change == "delete"

    def test_each_record_says_who_where_and_when(self) -> None:
        with _opened(self.source()) as source:
            streams = source.streams()
        records = _records(self.history())
        named = streams is None or {record.stream for record in records} <= set(streams)
        assert named, f"streams() says {streams}: a flow that names another one is refused"
        assert all(record.id for record in records)
        assert len({record.id for record in records}) == len(records), "an id names one change"
        assert all(record.time.utcoffset() is not None for record in records), "time is UTC"

    def test_positions_are_json(self) -> None:
        for batch in self.history():
            assert _through_json(batch.position) == batch.position

    def test_a_position_is_not_changed_later(self) -> None:
        self.put("a", 1)
        with _opened(self.source()) as source:
            stop, kept = threading.Event(), []
            with _patience(stop):
                for batch in source.read(None, stop):
                    kept.append((batch.position, json.dumps(batch.position)))
                    if batch.records:
                        stop.set()
        assert all(json.dumps(position) == text for position, text in kept)

    def test_every_position_gives_the_rest(self) -> None:
        """From the last to the first, as nothing was acknowledged. A position inside of a snapshot
        may lead to a new snapshot, with new ids; all other changes must come again as they were."""
        batches = self.history()
        final = self.state(_records(batches))
        for index in reversed(range(len(batches) - 1)):
            before, rest = _records(batches[: index + 1]), _records(batches[index + 1 :])
            with _opened(self.source()) as source:
                position = batches[index].position
                again = _records(_read(source, position, self._reaches(before, final, len(rest))))
            if _has_snapshot(again) and all(r.change == "snapshot" for r in before):
                continue
            if not self.every_state:
                known = {r.id: _identity(r) for r in _records(batches)}
                assert all(known.get(r.id, _identity(r)) == _identity(r) for r in again), (
                    "an id that was given for one change must not be given for another"
                )
                continue
            assert self._in_order(again) == self._in_order(rest), (
                f"reading on from batch {index} must give the same changes with the same ids"
            )

    def _in_order(self, records: Sequence[Record]) -> Any:
        """The records as far as their order is the same each time."""
        if self.one_order:
            return [_identity(record) for record in records]
        of_key: dict[str, list[Any]] = {}
        for record in records:
            of_key.setdefault(record.key, []).append(_identity(record))
        return of_key

    def _reaches(self, before: list[Record], final: dict[str, int], rest: int) -> Enough:
        """Either a new snapshot holds everything, or the rest completes what was there before.

        Where keys come in any order, a key that was deleted may still be missing then."""

        def enough(got: Sequence[Record]) -> bool:
            reached = final in (self.state(got), self.state(before + list(got)))
            return reached and (self.one_order or _has_snapshot(got) or len(got) >= rest)

        return enough

    def test_acknowledged_changes_do_not_come_again(self) -> None:
        done = self.begun(a=1, acknowledge=True)
        self.put("b", 1)
        with _opened(self.source()) as source:
            position = _through_json(done[-1].position)
            more = _records(_read(source, position, self.adds_up_to({"b": 1}), acknowledge=True))
        assert [record.key for record in more] == ["b"]

    def test_changes_while_nobody_reads_are_not_lost(self) -> None:
        done = self.begun(a=1, acknowledge=True)
        for revision in range(2, 12):
            self.put("a", revision)
        with _opened(self.source()) as source:
            more = _records(_read(source, done[-1].position, self.adds_up_to({"a": 11})))
        revisions = [self.revision(record) for record in more]
        assert revisions == (list(range(2, 12)) if self.every_state else [11])

    def test_it_stops_while_it_waits(self) -> None:
        done = self.begun(a=1)
        with _opened(self.source()) as source:
            assert _seconds_to_stop(source, done[-1].position) < STOP_SECONDS + GRACE

    def test_a_system_that_is_down_is_a_source_error(self) -> None:
        stop = threading.Event()
        error: SourceError | None = None
        source = self.unreachable_source()
        with _opened(source), _patience(stop):
            try:
                list(source.read(None, stop))
            except SourceError as raised:
                error = raised
        assert error is not None, "SourceError tells the engine to start again later"
        assert not [secret for secret in self.secrets if secret in str(error)]

    def test_close_before_reading(self) -> None:
        self.source().close()

    def test_close_releases_everything(self) -> None:
        position = self.begun(a=1)[-1].position

        def use() -> None:
            with _opened(self.source()) as source:
                _seconds_to_stop(source, position)

        leaves_nothing(use)


@contextmanager
def _opened(source: Source) -> Iterator[Source]:
    try:
        yield source
    finally:
        source.close()


@contextmanager
def _patience(stop: threading.Event) -> Iterator[None]:
    """Sets ``stop`` when what is awaited does not come."""
    timer = threading.Timer(PATIENCE, stop.set)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _read(
    source: Source, position: Position | None, enough: Enough, *, acknowledge: bool = False
) -> list[Batch]:
    """Batches until their records are enough, and what still comes until the source has stopped."""
    stop, batches = threading.Event(), []
    with _patience(stop):
        for batch in source.read(position, stop):
            batches.append(Batch(batch.records, _through_json(batch.position)))
            if acknowledge:
                source.acknowledge(batches[-1].position)
            if enough(_records(batches)):
                stop.set()
    got = [(record.key, record.change) for record in _records(batches)]
    assert enough(_records(batches)), f"after {PATIENCE:.0f} s from {position} there is only {got}"
    return batches


def _has_snapshot(records: Sequence[Record]) -> bool:
    return any(record.change == "snapshot" for record in records)


def _seconds_to_stop(source: Source, position: Position) -> float:
    """How long the waiting source takes to end once it is told to."""
    stop, asked = threading.Event(), []

    def ask() -> None:
        asked.append(time.monotonic())
        stop.set()

    timer = threading.Timer(IDLE_SECONDS, ask)
    timer.start()
    for _ in source.read(position, stop):
        pass
    ended = time.monotonic()
    timer.cancel()
    timer.join()
    assert asked, "the source ended by itself"
    return ended - asked[0]


def _records(batches: Sequence[Batch]) -> list[Record]:
    return [record for batch in batches for record in batch.records]


def _identity(record: Record) -> tuple[str, str, str, dict[str, Any]]:
    return record.id, record.key, record.change, record.data


def _through_json(position: Position) -> Position:
    """As it comes back from Kafka."""
    stored: Position = json.loads(json.dumps(position))
    return stored
