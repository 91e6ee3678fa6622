"""Calls through two gateways, a worker and a real broker to a real HTTP API: answers, repeats,
order with the entity's events, bad input."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway_kit import Caller, World, client_key, order
from trunkline import admin
from worker_kit import eventually

# The first of them waits for all servers and processes to start.
pytestmark = pytest.mark.timeout(400)


def unique() -> str:
    return uuid.uuid4().hex[:12]


def test_a_call_is_run_and_answered_with_the_very_words_of_the_system(world: World) -> None:
    id_ = unique()
    answer = world.callers[0].post("correct_order", order(id_, 2**60), key=unique())
    assert answer.status_code == 200, answer.text
    assert answer.text == '{"revision": 12345678901234567890.10, "seen": true}'
    (seen,) = world.erp.of(id_)
    assert (seen.method, seen.body["total_cents"]) == ("PATCH", 2**60)
    assert seen.key == answer.headers["Trunkline-Call"]
    # The other one may not have read yet that it is over.
    told = world.callers[1].get(f"/v1/calls/{seen.key}", prefer="wait=30").json()
    assert (told["state"], told["attempt"], told["system_status"]) == ("succeeded", 1, 200)


def test_a_repeated_key_is_answered_by_each_replica_and_run_once(world: World) -> None:
    id_, key = unique(), unique()
    first, again, other = (
        world.callers[number].post("correct_order", order(id_), key=key) for number in (0, 0, 1)
    )
    assert [r.status_code for r in (first, again, other)] == [200, 200, 200]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == other.headers["Idempotent-Replayed"] == "true"
    assert len({r.headers["Trunkline-Call"] for r in (first, again, other)}) == 1
    assert first.text == again.text == other.text
    assert len(world.erp.of(id_)) == 1


def test_a_key_with_another_body_is_refused_by_each_replica(world: World) -> None:
    id_, key = unique(), unique()
    assert world.callers[0].post("correct_order", order(id_), key=key).status_code == 200
    for caller in world.callers:
        refused = caller.post("correct_order", order(id_, 7), key=key)
        assert refused.status_code == 422
        assert refused.json()["type"] == "/problems/idempotency-key-reused"
    assert len(world.erp.of(id_)) == 1


def test_the_same_key_at_the_same_moment_is_run_once(world: World) -> None:
    """Each of ten keys eight times at once, over both replicas."""
    ids = [unique() for _ in range(10)]
    with ThreadPoolExecutor(16) as pool:
        found = list(
            pool.map(
                lambda n: world.callers[n % 2].post(
                    "correct_order", order(ids[n // 8]), key=f"key-{ids[n // 8]}"
                ),
                range(80),
            )
        )
    assert {answer.status_code for answer in found} == {200}
    assert {id_: len(world.erp.of(id_)) for id_ in ids} == dict.fromkeys(ids, 1)


def test_one_key_with_two_bodies_at_the_same_moment_runs_one_of_them(world: World) -> None:
    """Whoever lost is told, by whichever replica."""
    for _ in range(5):
        id_, key, begin = unique(), unique(), threading.Barrier(2)

        def post(number: int, id_: str = id_, key: str = key, begin: object = begin) -> int:
            begin.wait()  # type: ignore[attr-defined]
            body = order(id_, number)
            return world.callers[number].post("correct_order", body, key=key).status_code

        with ThreadPoolExecutor(2) as pool:
            statuses = sorted(pool.map(post, range(2)))
        assert statuses == [200, 422]
        assert len(world.erp.of(id_)) == 1


def test_who_wants_no_answer_is_told_where_it_will_be(world: World) -> None:
    id_ = unique()
    accepted = world.callers[0].post(
        "correct_order", order(id_), key=unique(), prefer="respond-async"
    )
    assert accepted.status_code == 202
    assert accepted.headers["Preference-Applied"] == "respond-async"
    place = accepted.headers["Location"]
    done = world.callers[1].get(place, prefer="wait=30")
    assert done.json()["state"] == "succeeded"
    assert done.json()["reply"]["seen"] is True
    reply = world.callers[1].get(f"{place}/reply")
    assert (reply.status_code, reply.json()["seen"]) == (200, True)


def test_a_call_waits_behind_an_event_of_its_entity_and_says_so(world: World) -> None:
    """The event is refused for now; the call that came later must not pass it."""
    id_ = unique()
    world.erp.answers[id_] = 500
    world.feed.orders([(id_, 1)])
    eventually(lambda: world.erp.of(id_), "the event is tried")
    waiting = world.callers[0].post("correct_order", order(id_, 2), key="k" + id_, prefer="wait=1")
    assert waiting.status_code == 202
    assert "why" in waiting.json()
    assert {seen.method for seen in world.erp.of(id_)} == {"PUT"}
    del world.erp.answers[id_]
    done = world.callers[1].get(waiting.headers["Location"], prefer="wait=30").json()
    assert done["state"] == "succeeded", done
    assert [seen.method for seen in world.erp.of(id_)][-2:] == ["PUT", "PATCH"]


def test_calls_and_events_of_an_entity_keep_their_order(world: World) -> None:
    id_ = unique()
    world.erp.delay = 0.2
    try:
        world.feed.orders([(id_, 0)])
        eventually(lambda: world.erp.of(id_), "the first event is under way")
        for number in range(1, 6):
            caller = world.callers[number % 2]
            body = order(id_, number)
            sent = caller.post("correct_order", body, key=f"{id_}{number}", prefer="respond-async")
            assert sent.status_code == 202
        last = world.callers[0].get(sent.headers["Location"], prefer="wait=30").json()
    finally:
        world.erp.delay = 0.0
    assert last["state"] == "succeeded"
    assert [seen.body["total_cents"] for seen in world.erp.of(id_)] == list(range(6))


def test_what_is_to_be_tried_again_is_tried_and_told_with_its_reason(world: World) -> None:
    id_ = unique()
    world.erp.answers[id_] = 500
    waiting = world.callers[0].post("correct_order", order(id_), key=unique(), prefer="wait=1")
    told = waiting.json()
    assert (waiting.status_code, told["state"], told["attempt"]) == (202, "attempting", 1)
    assert "500" in told["why"]
    assert told["due_at"] > told["accepted_at"]
    del world.erp.answers[id_]
    done = world.callers[0].get(waiting.headers["Location"], prefer="wait=30").json()
    assert (done["state"], done["attempt"]) == ("succeeded", 2)
    assert len({seen.key for seen in world.erp.of(id_)}) == 1, "one id in all attempts"


@pytest.mark.parametrize(
    ("system", "status", "kind"),
    [
        (400, 422, "rejected-by-system"),
        (404, 404, "rejected-by-system"),
        (409, 409, "rejected-by-system"),
        (412, 409, "rejected-by-system"),
        (422, 422, "rejected-by-system"),
        (401, 502, "system-credentials-rejected"),
        (403, 502, "system-credentials-rejected"),
    ],
)
def test_what_the_system_refuses_is_told_and_stays_so(
    world: World, system: int, status: int, kind: str
) -> None:
    id_, key = unique(), unique()
    world.erp.answers[id_] = system
    answers = [world.callers[n].post("correct_order", order(id_), key=key) for n in (0, 1)]
    for answer in answers:
        problem = answer.json()
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert (answer.status_code, problem["type"]) == (status, f"/problems/{kind}")
        assert (problem["system"], problem["system_status"]) == ("erp", system)
        code = None if system in (401, 403) else f"E{system}"
        assert problem.get("system_code") == code
        assert problem["retryable"] is False
    assert len(world.erp.of(id_)) == 1


def test_a_call_that_is_given_up_is_dead_and_said_to_be(world: World) -> None:
    id_, key = unique(), unique()
    world.erp.answers[id_] = 500
    failed = world.callers[0].post("correct_order", order(id_), key=key)
    assert failed.status_code == 502
    assert failed.json()["system_status"] == 500
    assert len(world.erp.of(id_)) == 3


def test_a_dead_call_that_an_operator_sends_again_runs_and_its_answer_changes(
    world: World,
) -> None:
    id_, key = unique(), unique()
    world.erp.answers[id_] = 401
    failed = world.callers[0].post("correct_order", order(id_), key=key)
    assert failed.status_code == 502
    del world.erp.answers[id_]
    target = admin.Target.parse(f"{world.flow}.erp")
    letters = admin.open_dead_letters(world.backbone, target)
    request = letters.plan_redrive(admin.DeadLetterFilter(key=id_), why="a new password")
    assert request.count == 1
    letters.submit(request)
    path = f"/v1/calls/{failed.json()['call']}"
    for caller in world.callers:
        eventually(lambda c=caller: c.get(path).json()["state"] == "succeeded", "it was sent again")
    again = world.callers[1].post("correct_order", order(id_), key=key)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert len({seen.key for seen in world.erp.of(id_)}) == 1
    assert len(world.erp.of(id_)) == 2


def test_a_defect_of_the_operation_is_no_fault_of_the_caller(world: World) -> None:
    failed = world.callers[0].post("broken_order", order(unique()), key=unique())
    assert failed.status_code == 502
    assert "KeyError" in failed.json()["detail"]


def test_a_call_that_could_not_be_attempted_in_time_is_not_run(world: World) -> None:
    id_ = unique()
    world.erp.delay = 2.0
    try:
        world.callers[0].post("correct_order", order(id_), key=unique(), prefer="respond-async")
        eventually(lambda: world.erp.of(id_), "the first call is under way")
        late = world.callers[0].post("hurry_order", order(id_), key=unique())
        assert late.status_code == 202
        over = world.callers[0].get(late.headers["Location"] + "/reply", prefer="wait=30")
    finally:
        world.erp.delay = 0.0
    assert (over.status_code, over.json()["type"]) == (504, "/problems/call-expired")
    assert [seen.method for seen in world.erp.of(id_)] == ["PATCH"]


def test_a_verb_that_may_be_repeated_needs_no_key(world: World) -> None:
    id_ = unique()
    assert world.callers[0].post("hurry_order", order(id_)).status_code == 200
    missing = world.callers[0].post("correct_order", order(id_))
    assert missing.status_code == 400
    assert missing.json()["type"] == "/problems/idempotency-key-missing"


def test_a_key_of_another_client_is_another_call(world: World) -> None:
    id_, key = unique(), unique()
    for caller in (world.callers[0], world.stranger):
        assert caller.post("hurry_order", order(id_), key=key).status_code == 200
    assert len({seen.key for seen in world.erp.of(id_)}) == 2


def test_nobody_learns_of_anothers_calls(world: World) -> None:
    sent = world.callers[0].post("hurry_order", order(unique()), key=unique())
    path = f"/v1/calls/{sent.headers['Trunkline-Call']}"
    assert world.callers[0].get(path).status_code == 200
    for unknown in (path, f"{path}/reply", "/v1/calls/none"):
        refused = world.stranger.get(unknown)
        assert (refused.status_code, refused.json()["type"]) == (404, "/problems/not-found")


def test_rights_are_told_and_names_that_were_meant(world: World) -> None:
    forbidden = world.stranger.post("correct_order", order(unique()), key=unique())
    assert (forbidden.status_code, forbidden.json()["permission"]) == (403, "erp/correct_order")
    near = world.callers[0].post("corect_order", order(unique()), key=unique())
    assert near.status_code == 404
    assert "/v1/systems/erp/operations/correct_order" in near.json()["detail"]
    hidden = world.stranger.post("corect_order", order(unique()), key=unique())
    assert "correct_order" not in hidden.text


@pytest.mark.parametrize("key", ["", "tlk_x", "tlk_" + "a" * 12 + "_" + "0" * 64 + "_" + "0" * 8])
def test_without_a_key_nothing_is_told(world: World, key: str) -> None:
    caller = Caller(world.gateways[0].url, key or "x")
    answers = [
        caller.post("correct_order", order("x"), key="k"),
        caller.post("no_such", order("x"), key="k"),
        caller.get("/v1/calls/x"),
        caller.get("/openapi.json"),
    ]
    caller.close()
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].headers["WWW-Authenticate"] == "Bearer"


def test_a_revoked_key_is_worthless_within_a_second(world: World) -> None:
    from trunkline.access.file import AccessEditor
    from trunkline.access.keys import key_id

    text = client_key(world.access, "gone", "erp/*")
    callers = [Caller(gateway.url, text) for gateway in world.gateways]
    for caller in callers:
        eventually(lambda c=caller: c.get("/openapi.json").status_code == 200, "it is known", 5)
    AccessEditor(world.access).revoke(key_id(text))
    for caller in callers:
        eventually(lambda c=caller: c.get("/openapi.json").status_code == 401, "it is gone", 2)
        caller.close()


BAD = [
    (b"", {}, 400, "not-json"),
    (b'{"id": 1,}', {}, 400, "not-json"),
    (b'{"id": "1", "id": "2"}', {}, 400, "not-json"),
    (b'{"id": NaN}', {}, 400, "not-json"),
    (b"\xff", {}, 400, "not-json"),
    (b"[" * 50_000, {}, 400, "not-json"),
    (b"[]", {}, 422, "not-acceptable"),
    (b"null", {}, 422, "not-acceptable"),
    (b"{}", {}, 422, "not-acceptable"),
    (b'{"id": 1, "status": null, "total_cents": 5, "x": 1}', {}, 422, "not-acceptable"),
    (b"{}", {"Content-Type": "text/plain"}, 415, "not-json-type"),
    (b"{}", {"Content-Type": ""}, 415, "not-json-type"),
    (b"{}", {"Content-Encoding": "gzip"}, 415, "not-json-type"),
    (b" " * 1_048_577, {}, 413, "body-too-large"),
    (b"{}", {"Idempotency-Key": "\x7f"}, 400, "idempotency-key-wrong"),
    (b"{}", {"Idempotency-Key": "x" * 256}, 400, "idempotency-key-wrong"),
    (b"{}", {"Idempotency-Key": "a b"}, 400, "idempotency-key-wrong"),
    (b"{}", {"Prefer": "wait=61"}, 400, "preference-wrong"),
]


@pytest.mark.parametrize(("content", "headers", "status", "kind"), BAD)
def test_bad_input_has_its_answer(
    world: World, content: bytes, headers: dict[str, str], status: int, kind: str
) -> None:
    before = len(world.erp.seen)
    answer = world.callers[0].post("correct_order", content=content, key="k", headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{kind}"), answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert len(world.erp.seen) == before


def test_all_errors_of_fields_are_told_with_pointers(world: World) -> None:
    body = {"id": 1, "total_cents": 5, "x": 1}
    problem = world.callers[0].post("correct_order", body, key="k").json()
    assert {error["pointer"] for error in problem["errors"]} == {
        "#/id",
        "#/status",
        "#/total_cents",
        "#/x",
    }


def test_a_wrong_json_is_told_with_its_line_and_column(world: World) -> None:
    problem = world.callers[0].post("correct_order", content=b'{"id":\n }', key="k").json()
    assert (problem["line"], problem["column"]) == (2, 2)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/systems/erp/operations/correct_order", 405),
        ("DELETE", "/v1/calls/x", 405),
        ("GET", "/v2", 404),
        ("GET", "/problems/none", 404),
        ("GET", "/v1/systems/erp/operations/", 404),
    ],
)
def test_urls_that_are_none_are_problems_too(
    world: World, method: str, path: str, status: int
) -> None:
    import httpx

    answer = httpx.request(method, world.gateways[0].url + path)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_the_document_shows_what_the_caller_may_use(world: World) -> None:
    document = world.callers[0].get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert "/v1/systems/erp/operations/correct_order" in document["paths"]
    assert document["components"]["schemas"]["commerce.Order"]["required"]
    mine = world.stranger.get("/openapi.json").json()["paths"]
    assert [path for path in mine if "systems" in path] == [
        "/v1/systems/erp/operations/hurry_order",
        "/v1/systems/erp/orders/{id}",
    ]


def test_health_readiness_metrics_and_problems_are_told_to_everybody(world: World) -> None:
    import httpx

    url = world.gateways[0].url
    assert httpx.get(f"{url}/healthz").json() == {"healthy": True, "why": ""}
    assert httpx.get(f"{url}/readyz").json() == {"ready": True, "why": ""}
    metrics = httpx.get(f"{url}/metrics").text
    assert 'trunkline_gateway_requests_total{operation="correct_order",status="200"' in metrics
    assert httpx.get(f"{url}/problems/busy").json()["retryable"] is True
