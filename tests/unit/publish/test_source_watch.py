"""What a source's system knows of it: asked beside the reading, and told to all who look."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from math import inf

import pytest

from trunkline.connectors.base import Batch, Gauge, Position, Source
from trunkline.errors import SourceError
from trunkline.streams.listener import OutcomeListener
from trunkline.streams.metrics import Metrics, SourceMetrics
from trunkline.streams.publish import source_watch
from trunkline.streams.publish.source_watch import SourceWatch


class Silent(Source):
    """A source whose system tells nothing."""

    def read(self, position: Position | None, stop: threading.Event) -> Iterator[Batch]:
        raise AssertionError("it is never read")


class Slot(Silent):
    """A source with what its system tells: gauges, or an error, one after the other; the last one
    again and again."""

    def __init__(self, *answers: Sequence[Gauge] | Exception) -> None:
        self.answers = list(answers)
        self.closed = 0
        self.asked: list[Position] = []

    def gauges(self, position: Position, stop: threading.Event) -> Sequence[Gauge]:
        self.asked.append(position)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.closed += 1


class Told(OutcomeListener):
    def __init__(self) -> None:
        self.warnings: list[list[str]] = []

    def on_at_risk(self, warnings: Sequence[str]) -> None:
        self.warnings.append(list(warnings))


class Watched:
    """A watch over ``source``, which stands at position 7."""

    def __init__(self, source: Source) -> None:
        self.metrics, self.told = Metrics(), Told()
        self.position: Position | None = {"at": 7}
        self.watch = SourceWatch(
            "db",
            build=lambda: source,
            position=lambda: self.position,
            metrics=SourceMetrics(self.metrics, "shop", "db"),
            outcome_listener=self.told,
        )

    def __enter__(self) -> Watched:
        self.watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.watch.stop()

    def value(self, gauge: str) -> float | None:
        labels = {"flow": "shop", "step": "publish", "name": "db", "gauge": gauge}
        return self.metrics.registry.get_sample_value("trunkline_source_gauge", labels)

    @property
    def at_risk(self) -> float | None:
        labels = {"flow": "shop", "step": "publish", "name": "db"}
        return self.metrics.registry.get_sample_value("trunkline_source_at_risk", labels)


def eventually(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_watch, "INTERVAL", 0.005)


def test_what_the_system_tells_is_a_metric_until_it_is_told_no_more() -> None:
    source = Slot([Gauge("behind_bytes", 5.0), Gauge("left_bytes", inf)])
    with Watched(source) as watched:
        eventually(lambda: watched.value("behind_bytes") == 5.0)
        assert watched.value("left_bytes") is None, "no number that a rule could read"
        assert source.asked[0] == {"at": 7}
        assert watched.at_risk == 0
        source.answers = [[Gauge("left_bytes", 3.0)]]
        eventually(lambda: watched.value("left_bytes") == 3.0)
        assert watched.value("behind_bytes") is None
        assert watched.watch.gauges == (Gauge("left_bytes", 3.0),)
    assert watched.value("left_bytes") is None, "another worker tells it now"
    assert not any(thread.name == "watch-db" for thread in threading.enumerate())


def test_a_warning_is_told_once_in_the_log_and_all_the_time_to_alerts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = [Gauge("left_bytes", 9.0, "", "9 bytes are left")]
    again = [Gauge("left_bytes", 8.0, "", "8 bytes are left")]
    source = Slot(first, again)
    with Watched(source) as watched:
        eventually(lambda: watched.told.warnings.count(["8 bytes are left"]) > 2)
        assert watched.at_risk == 1
        assert watched.watch.warnings == ["8 bytes are left"]
        source.answers = [[Gauge("left_bytes", 99.0)]]
        eventually(lambda: watched.told.warnings[-1] == [])
        assert watched.at_risk == 0
        source.answers = [first]
        eventually(lambda: len(caplog.messages) == 2)
    assert caplog.messages == ["source db: 9 bytes are left"] * 2
    assert watched.at_risk == 0


def test_a_system_that_cannot_be_asked_tells_nothing_and_is_asked_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    away = SourceError("away")
    source = Slot([Gauge("behind_bytes", 5.0)], away, away, away, [Gauge("behind_bytes", 6.0)])
    with Watched(source) as watched:
        eventually(lambda: watched.value("behind_bytes") == 6.0)
    assert caplog.messages == [
        "source db: its system cannot be asked for gauges: SourceError: away"
    ], "once, though it was asked three times"


def test_a_source_is_no_less_at_risk_while_its_system_cannot_be_asked() -> None:
    """The alert would tell that nothing threatens it any more, as soon as the database is down."""
    source = Slot([Gauge("slot_state", 3.0, "lost", "the slot is lost")], SourceError("away"))
    with Watched(source) as watched:
        eventually(lambda: len(source.asked) > 3)
        assert watched.watch.gauges == ()
        assert watched.value("slot_state") is None, "nobody knows the number now"
        assert watched.at_risk == 1
        assert watched.told.warnings == [["the slot is lost"]]
        source.answers = [[Gauge("slot_state", 0.0)]]
        eventually(lambda: watched.told.warnings[-1] == [])
        assert watched.at_risk == 0


def test_what_was_told_of_a_position_that_was_reset_is_told_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(source_watch, "_SOON", 0.005)
    with Watched(Slot([Gauge("slot_state", 3.0, "lost", "the slot is lost")])) as watched:
        eventually(lambda: watched.told.warnings)
        watched.position = None
        eventually(lambda: watched.told.warnings[-1] == [])
        assert watched.watch.gauges == ()


def test_what_asks_is_closed_when_it_is_over() -> None:
    source = Slot([Gauge("behind_bytes", 5.0)])
    with Watched(source) as watched:
        eventually(lambda: source.asked)
        assert source.closed == 0
        watched.watch.stop()
        assert source.closed == 1
        watched.watch.start()
    assert source.closed <= 2


def test_nothing_is_asked_before_the_source_has_a_position(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = Slot([Gauge("behind_bytes", 5.0)])
    watched = Watched(source)
    watched.position = None
    monkeypatch.setattr(source_watch, "_SOON", 0.005)
    with watched:
        time.sleep(0.05)
        assert source.asked == []
        watched.position = {"at": 8}
        eventually(lambda: source.asked)
    assert source.asked[0] == {"at": 8}


def test_a_source_that_tells_nothing_needs_no_thread() -> None:
    with Watched(Silent()):
        eventually(lambda: not any(t.name == "watch-db" for t in threading.enumerate()))
