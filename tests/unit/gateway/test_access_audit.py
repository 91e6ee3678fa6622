"""What is written of requests: who, by which right, what came of it; names of fields, never
values."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import Response

from trunkline.access.audit import AccessRecord, parsed_access
from trunkline.access.policy import Client
from trunkline.gateway.audit import AccessAudit
from trunkline.gateway.problems import Problem

CRM = Client("crm", ("erp/*",), by="q8w3r5t7z2x4")


class Written:
    """What an audit gives to Kafka. ``now``: its clock; ``broken``: it takes nothing."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.broken = False
        self.records: list[AccessRecord] = []
        self.values: list[bytes] = []
        self.audit = AccessAudit(self.write, lambda: self.now)

    def write(self, key: bytes, value: bytes, lost: object) -> None:
        if self.broken:
            lost("away")  # type: ignore[operator]
            return
        record = parsed_access(value)
        assert record is not None
        assert key.decode() == record.client
        self.records.append(record)
        self.values.append(value)


@pytest.fixture
def written() -> Written:
    return Written()


def request() -> Request:
    return Request({"type": "http", "path_params": {}})


def test_an_answer_is_written_with_names_and_no_values(written: Written) -> None:
    asked = request()
    written.audit.note(asked, CRM, "call", "erp/correct_order", "erp/*")
    written.audit.note_fields(asked, {"id": "SECRET-1", "status": None, "cents": 4_711})
    written.audit.answered(asked, Response(headers={"Trunkline-Call": "6c1"}))
    (record,) = written.records
    assert record == AccessRecord(
        at="1970-01-01T00:16:40.000Z",
        client="crm",
        by="q8w3r5t7z2x4",
        what="call",
        on="erp/correct_order",
        right="erp/*",
        call="6c1",
        outcome="done",
        status=200,
        fields=["id", "cents"],
    )
    assert b"SECRET" not in written.values[0]
    assert b"4711" not in written.values[0]


def test_what_is_denied_names_the_right_that_is_missing(written: Written) -> None:
    asked = request()
    written.audit.note(asked, CRM, "call", "wms/move", "")
    written.audit.refused(asked, Problem("forbidden", permission="wms/move"))
    (record,) = written.records
    assert (record.right, record.outcome, record.status) == ("wms/move", "forbidden", 403)
    assert record.is_denied


def test_what_asks_for_nothing_is_not_written(written: Written) -> None:
    written.audit.answered(request(), Response())
    written.audit.refused(request(), Problem("not-found"))
    assert written.records == []


def test_a_flood_of_unknown_callers_does_not_flood_the_topic(written: Written) -> None:
    for _ in range(5_000):
        written.audit.refused(request(), Problem("unauthorized"))
    assert len(written.records) == 10
    written.now += 1.0
    written.audit.refused(request(), Problem("unauthorized"))
    assert [record.more for record in written.records] == [0] * 10 + [4_990]


def test_what_kafka_does_not_take_is_counted(written: Written) -> None:
    written.broken = True
    written.audit.refused(request(), Problem("unauthorized"))
    assert written.audit.lost == 1


@pytest.mark.parametrize("value", [None, b"", b"[]", b"{}", b'{"at": 1}', b"no json"])
def test_what_is_no_record_is_none(value: bytes | None) -> None:
    assert parsed_access(value) is None
    sound = AccessRecord(at="", what="call", outcome="done", status=200)
    assert parsed_access(sound.encoded()) is not None
    assert parsed_access(sound.encoded().replace(b'"status":200', b'"status":"200"')) is None
