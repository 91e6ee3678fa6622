"""What a worker shows of a destination, and what it obeys: in virtual time, as in a worker."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from delivery_kit import ErpTest
from trunkline import Retry, Retryable, Unavailable
from trunkline.kafka import KafkaUnavailable
from trunkline.streams.control.records import HaltKey, OverrideKey, StatusKey
from trunkline.streams.dlq.halted import HaltedEvent
from trunkline.streams.worker.supervisor import ControlledHaltDecisions
from trunkline.testing.control import MemoryControl


def statuses(test: ErpTest) -> list[dict[str, Any]]:
    """What workers tell of the ERP in the control topic."""
    keys = [StatusKey.parse(text) for text in test._control.state]
    return [test._control.state[key.text] for key in keys if key is not None]


def metric(test: ErpTest, name: str) -> float | None:
    labels = {"flow": "sales", "step": "deliver", "name": "erp"}
    return test._parts.metrics.registry.get_sample_value(name, labels)


async def raises_unavailable(events: Sequence[Any]) -> None:
    raise Unavailable("503", status=503)


def write(test: ErpTest, destination: str, value: Mapping[str, Any] | None) -> None:
    test._do(test._control.put(OverrideKey(destination).text, value))


# The log


def test_an_outage_is_told_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with ErpTest() as test:
        test.script.does(raises_unavailable)
        test.send(*(f"k{number}" for number in range(30)))
        test.advance("3m")
        assert caplog.messages.count("erp: its system is down, and its events wait") == 1
        assert any(text.startswith("erp: deliveries are held: 503") for text in caplog.messages)
        assert "up again" not in caplog.text
        test.script.recovers()
        test.run_until_idle()
        test.advance("2m")
    (told,) = [text for text in caplog.messages if "up again" in text]
    assert re.fullmatch("erp: its system is up again, after [34] min", told)


def test_a_pause_is_told_and_so_is_its_end_and_at_a_start_what_is_over_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ErpTest() as test:
        write(test, "erp", {"state": "paused", "by": "ada", "at": "2026-01-01T00:00:00+00:00"})
        test.advance("2s")
        for _ in range(2):  # the second is as the control topic is read at a start
            write(test, "erp", {"state": "auto", "by": "bob", "at": "2026-01-01T00:00:02+00:00"})
            test.advance("2s")
    assert [text for text in caplog.messages if "says" in text] == [
        "erp: paused, says ada",
        "erp: auto, says bob",
    ]


# The status


def test_a_destination_that_is_well_says_nothing() -> None:
    with ErpTest() as test:
        test.send("a")
        test.advance("5m")
        assert statuses(test) == []


def test_a_pause_is_told_within_seconds_with_what_waits_and_its_end_too() -> None:
    with ErpTest() as test:
        test.pause(test.erp)
        test.send("a", "b")
        test.advance("3s")
        (status,) = statuses(test)
        assert (status["state"], status["lag"]) == (test.state(test.erp), 2)
        test.resume(test.erp)
        test.advance("3s")
        assert statuses(test) == []
        assert test.arrived == ["a/1", "b/2"]


def test_a_long_retry_after_shows_with_its_end_and_a_force_ends_it() -> None:
    with ErpTest() as test:
        test.script.does(too_many)
        test.send("a")
        test.send("b", "c")
        test.advance("3s")
        (status,) = statuses(test)
        assert (status["state"], status["lag"]) == ("throttled", 3)
        assert status["until"].startswith("2026-01-01T01:00:0")  # an hour, and not 41 days
        write(test, "erp", {"state": "forced", "by": "ada", "at": "2026-01-01T00:00:03+00:00"})
        test.advance("3s")
        assert test.arrived == ["b/2", "c/3"]
        assert statuses(test) == []


def too_many(events: Any) -> None:
    """An API that means milliseconds."""
    if events[0].id == "a/1":
        raise Retryable("slow down", status=429, after=3_600_000)


def test_an_outage_shows_in_the_metrics_for_as_long_as_it_lasts() -> None:
    with ErpTest(retry=Retry("10s")) as test:
        test.script.down()
        test.send("a")
        test.advance("1m")
        assert metric(test, "trunkline_breaker_state") in (1, 2)
        assert (metric(test, "trunkline_breaker_open_seconds") or 0) > 30
        test.script.up()
        test.advance("10m")
        for _ in range(30):  # the rate grows while something is sent
            test.send("a", "b", "c")
            test.advance("1s")
        assert metric(test, "trunkline_breaker_state") == 0
        assert metric(test, "trunkline_breaker_open_seconds") == 0


# Commands


def test_a_command_to_a_destination_whose_name_begins_alike_is_not_obeyed() -> None:
    with ErpTest() as test:
        test.pause(test.erp)
        pause = test._control.state[OverrideKey("erp").text]
        test.resume(test.erp)
        write(test, "erp2", pause)
        test.send("a")
        assert test.arrived == ["a/1"]


@pytest.mark.parametrize("value", [{"state": "dance"}, {"state": "auto", "until": "soon"}])
def test_a_command_that_is_not_understood_stops_nothing(
    value: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with ErpTest() as test:
        write(test, "erp", value)
        test.send("a")
        assert test.arrived == ["a/1"]
    assert "is ignored" in caplog.text


def test_a_command_whose_record_is_removed_is_over() -> None:
    with ErpTest() as test:
        test.pause(test.erp)
        test.send("a")
        assert test.arrived == []
        write(test, "erp", None)
        test.advance("1s")
        assert test.arrived == ["a/1"]


def test_a_worker_obeys_what_was_commanded_before_it_began() -> None:
    with ErpTest() as test:
        test.pause(test.erp)
        test.crash()
        test.send("a")
        test.advance("1m")
        assert test.arrived == []


# Decisions about halted events


DEATH = HaltedEvent(3, "40", "4")
DECIDED = HaltKey("erp", 3, "40", "4").text


def test_a_decision_is_read_from_the_control_topic_and_removed_once_it_is_applied() -> None:
    async def scene() -> None:
        control = MemoryControl()
        decisions = ControlledHaltDecisions(control, "erp")
        assert decisions.decision(DEATH) == ""
        await control.put(DECIDED, {"action": "discard"})
        await control.put(HaltKey("crm", 3, "40", "4").text, {"action": "retry"})
        await asyncio.sleep(0)
        assert decisions.decision(DEATH) == "discard"
        assert decisions.decision(DEATH._replace(attempts="5")) == "", "it has died anew"
        decisions.on_applied(DEATH)
        for _ in range(3):
            await asyncio.sleep(0)
        assert list(control.state) == [HaltKey("crm", 3, "40", "4").text]

    asyncio.run(scene())


class WithoutKafka(MemoryControl):
    """A control topic that takes nothing."""

    async def put(self, key: str, value: Mapping[str, Any] | None) -> None:
        raise KafkaUnavailable("all brokers are down")


def test_a_decision_that_cannot_be_removed_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        ControlledHaltDecisions(WithoutKafka(), "erp").on_applied(DEATH)
        await asyncio.sleep(0.01)

    with caplog.at_level(logging.WARNING):
        asyncio.run(scene())
    assert f"{DECIDED} stays in the control topic" in caplog.text
