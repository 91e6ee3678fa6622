"""No secret gets out: a flow with one of every kind, whose systems refuse it and repeat all that
they are sent; then every log, page, topic, file and command is searched for each."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pymysql
import pytest

from cluster_world import process_left_as_it_was
from locked_kafka import SCRAM_USER, Locked, locked_kafka
from marked_secrets import Marked, Parrot, in_url
from otlp_collector import Collector
from pg_kit import new_database
from trunkline import cli, kafka, masking
from trunkline.connectors.mysql.address import parse
from trunkline.kafka.rights import Right
from trunkline.local.ports import free_port
from trunkline.params import KAFKA_PREFIX, PARAMS_PREFIX, Backbone
from worker_kit import WorkerProcess, eventually, read

FLOW = Path(__file__).parent / "marked_flow.py"
KAFKA_WORD = ("m4rked", "cr%et")  # both halves of the password of the kit's Kafka


@pytest.fixture(scope="module")
def locked() -> Iterator[Locked]:
    with locked_kafka() as running:
        every = [Right(kind, "*", ("All",)) for kind in ("topic", "group", "transactional-id")]
        running.grant(SCRAM_USER, every)
        yield running


@dataclass
class Case:
    """The flow's environment, and all that was seen of it: ``seen`` has it by where it was."""

    home: Path
    name: str
    marked: Marked
    parrot: Parrot
    backbone: Backbone
    collector: Collector
    environ: dict[str, str]
    hook_secret: str
    seen: dict[str, bytes] = field(default_factory=dict)

    def run(self, *words: str, **changed: str) -> str:
        """A command, as a shell runs it, with the environment and what is ``changed`` of it."""
        out, err = io.StringIO(), io.StringIO()
        given = {**self.environ, **changed}
        with pytest.MonkeyPatch.context() as patch, process_left_as_it_was():
            patch.setattr(masking, "_KNOWN", {})
            patch.setattr(sys, "argv", ["trunkline", *words])
            patch.chdir(self.home)
            for name, text in given.items():
                patch.setenv(name, text)
            with redirect_stdout(out), redirect_stderr(err), suppress(SystemExit):
                cli.main()
        said = out.getvalue() + err.getvalue()
        assert said, words
        self.seen[" ".join([*words, *changed])] = said.encode()
        return said

    def page(self, worker: WorkerProcess, path: str) -> str:
        """A page of a worker's."""
        url = f"http://127.0.0.1:{worker.port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                said: bytes = answer.read()
        except urllib.error.HTTPError as refused:
            with refused:
                said = refused.read()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return ""  # it has not begun yet
        self.seen[f"{path} of {worker.role}"] = said
        return said.decode()

    def leaks(self) -> dict[str, set[str]]:
        """Which secrets stand where."""
        found = {}
        for where, text in self.seen.items():
            kinds = self.marked.found(text)
            kinds |= {"kafka"} if any(word.encode() in text for word in KAFKA_WORD) else set()
            if kinds:
                found[where] = kinds
        return found


@contextmanager
def worker_of(case: Case, label: str, **changed: str) -> Iterator[WorkerProcess]:
    """A worker of all steps that logs at debug."""
    environ = {**case.environ, **changed}
    log = case.home / f"{label}.log"
    worker = WorkerProcess(FLOW, "source,route,deliver", environ, log, "--log-level", "debug")
    try:
        yield worker
    finally:
        if worker.process.poll() is None:
            worker.kill()
        case.seen[f"log of {label}"] = log.read_bytes()


@pytest.fixture
def case(
    locked: Locked, registry_url: str, postgres_dsn: str, mariadb_url: str, tmp_path: Path
) -> Iterator[Case]:
    marked, name = Marked(), f"marked-{uuid.uuid4().hex[:8]}"
    user = name.replace("-", "_")
    registry_word, mart_word, shop_word = map(marked.secret, ("Registry", "Mart", "Shop"))
    answers = {"/token": {"access_token": marked.secret("Token"), "expires_in": 60}, "/list": []}
    with (
        Parrot(registry_url, registry_word, answers=answers) as parrot,
        Collector() as collector,
        new_database(postgres_dsn, name) as shop,
        mariadb(mariadb_url, user, mart_word) as mart,
    ):
        shop.each(
            "CREATE TABLE orders (id text PRIMARY KEY)",
            f"CREATE ROLE {user} LOGIN SUPERUSER PASSWORD '{shop_word}'",
        )
        address = shop.dsn.replace("postgres@", f"{user}:{in_url(shop_word)}@")
        hook_secret = marked.secret("Hook")
        parameters = {
            "shop_dsn": address,
            "list_key": marked.secret("List"),
            "hook_secret": hook_secret,
            "hook_port": str(free_port()),
            "api": parrot.url,
            "password": marked.secret("Basic"),
            "api_key": marked.secret("Header"),
            "client_secret": marked.secret("OAuth"),
            "mart_url": mart,
            "legacy_key": marked.secret("Legacy"),
        }
        backbone = locked.backbone("SASL")
        registry = parrot.url.replace("//", f"//marked:{in_url(registry_word)}@") + "/registry"
        environ = {
            "FLOW": name,
            "TRUNKLINE_BOOTSTRAP": backbone.bootstrap,
            "TRUNKLINE_REGISTRY": registry,
            "TRUNKLINE_PARTITIONS": "1",
            "TRUNKLINE_TRACES": collector.url,
            "TRUNKLINE_TRACES_RATIO": "1",
            "TRUNKLINE_ALERTS_SLACK": f"{parrot.url}/slack/{in_url(marked.secret('Slack'))}",
            "TRUNKLINE_ALERTS_WEBHOOK": f"{parrot.url}/alert?key={in_url(marked.secret('Alert'))}",
            "TRUNKLINE_ALERTS_WEBHOOK_TOKEN": marked.secret("AlertToken"),
            "TRUNKLINE_ALERTS_WEBHOOK_SECRET": marked.secret("AlertSecret"),
            **{PARAMS_PREFIX + key.upper(): text for key, text in parameters.items()},
            **{KAFKA_PREFIX + k.replace(".", "_").upper(): v for k, v in backbone.kafka.items()},
        }
        try:
            yield Case(tmp_path, name, marked, parrot, backbone, collector, environ, hook_secret)
        finally:
            shop.each(f"REASSIGN OWNED BY {user} TO CURRENT_USER", f"DROP ROLE {user}")


@contextmanager
def mariadb(url: str, user: str, password: str) -> Iterator[str]:
    """The address of a database of its own, for a user with that password."""
    arguments, _ = parse(url.replace("mysql+pymysql", "mysql").replace("mariadb", "mysql"))
    with pymysql.connect(**arguments, autocommit=True) as admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {user}")
        cursor.execute(f"CREATE USER '{user}'@'%%' IDENTIFIED BY %s", (password,))
        cursor.execute(f"GRANT ALL ON {user}.* TO '{user}'@'%'")
        where = f"{arguments['host']}:{arguments['port']}"
        try:
            yield f"mysql://{user}:{in_url(password)}@{where}/{user}"
        finally:
            cursor.execute(f"DROP USER '{user}'@'%'")
            cursor.execute(f"DROP DATABASE {user}")


def call(case: Case, id_: str, signed: bool) -> int:
    """The status of a call of the flow's webhook."""
    body = json.dumps({"id": id_}).encode()
    secret = case.hook_secret if signed else "another"
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    url = f"http://127.0.0.1:{case.environ[PARAMS_PREFIX + 'HOOK_PORT']}/"
    headers = {"X-Hub-Signature-256": f"sha256={signature}"}
    return httpx.post(url, content=body, headers=headers, timeout=30).status_code


def test_no_secret_gets_out(case: Case, locked: Locked) -> None:
    wrong_addresses(case)
    wrong_words(case)
    case.parrot.refusing |= {"/crm": 401, "/token": 401, "/list": 403, "/slack": 404, "/alert": 500}
    case.run("plan", str(FLOW), "--out", "saved.plan")
    case.run("apply", "saved.plan", "--yes", "--json")
    with worker_of(case, "refused") as worker:
        eventually(lambda: worker.ready, "it is ready")
        assert call(case, "a", signed=False) == 401
        assert call(case, "b", signed=True) < 300
        eventually(lambda: case.parrot.asked.get("/crm"), "the CRM was asked")
        eventually(lambda: case.parrot.asked.get("/alert"), "somebody is alerted")
        eventually(lambda: case.parrot.asked.get("/slack"), "and in the other channel, too")
        eventually(lambda: letters(case, "crm") and letters(case, "legacy"), "both have letters")
        eventually(lambda: "legacy" in worker.log.read_text(), "the fault is logged")
        looks(case, worker)
        case.parrot.refusing.clear()
        before = case.parrot.asked.get("/erp", 0)
        eventually(lambda: case.parrot.asked.get("/erp", 0) > before, "the token is good now")
        case.page(worker, "/metrics")
        worker.stop()
    assert {span.name.split()[0] for span in case.collector.spans} == {
        "publish",
        "route",
        "deliver",
    }
    assert any(span.failed for span in case.collector.spans)
    case.seen["spans"] = b"\n".join(case.collector.bodies)
    for file in case.home.rglob("*"):
        if file.is_file():
            case.seen[f"file {file.name}"] = file.read_bytes()
    search_kafka(case, locked)
    assert case.leaks() == {}
    assert b"RuntimeError: GET http://127.0.0.1:1/?key=***" in case.seen["log of refused"]


def wrong_addresses(case: Case) -> None:
    """Each address with its secret as nobody may write it, and as text instead of a number."""
    name = "TRUNKLINE_PARAMS_SHOP_DSN"
    words = {kind: case.marked.secret(kind) for kind in ("Dsn", "Sql", "Wrong", "Url", "Hooked")}
    broken = {
        name: f"postgresql://u:{words['Dsn']}@127.0.0.1:1/d",
        "TRUNKLINE_PARAMS_MART_URL": f"mysql://u:{words['Sql']}@127.0.0.1:1/d",
        "TRUNKLINE_REGISTRY": f"http://u:{words['Wrong']}@127.0.0.1:1",
        "TRUNKLINE_PARAMS_API": f"http://u:{words['Url']}@127.0.0.1:1",
        "TRUNKLINE_ALERTS_WEBHOOK": f"htp//{words['Hooked']}",
        "TRUNKLINE_PARAMS_HOOK_PORT": case.marked.secret("Port"),
    }
    for variable, text in broken.items():
        case.run("doctor", str(FLOW), "--json", **{variable: text})
    case.run("plan", str(FLOW), TRUNKLINE_REGISTRY=broken["TRUNKLINE_REGISTRY"])
    (case.home / "environments").mkdir()
    (case.home / "environments" / "bad.toml").write_text(
        "\n".join(f'{key} = "{case.marked.secret("Toml")}' for key in ("one", "two"))
    )
    assert "not TOML" in case.run("check", str(FLOW), "--env", "bad")
    (case.home / "environments" / "bad.toml").unlink()  # it has them, and is theirs


def wrong_words(case: Case) -> None:
    """Passwords that are refused by real servers: Kafka, MariaDB, and the registry's door."""
    variable = f"{KAFKA_PREFIX}SASL_PASSWORD"
    said = case.run("doctor", str(FLOW), **{variable: case.marked.secret("OtherKafka")})
    assert "refuses the user" in said
    wrong = case.environ["TRUNKLINE_REGISTRY"].replace("hdRegistry7x", "hdOther7x")
    assert "refuses access" in case.run("doctor", str(FLOW), TRUNKLINE_REGISTRY=wrong)
    case.parrot.refusing["/registry"] = 500
    assert "answers 500" in case.run("doctor", str(FLOW), "--json")
    assert "answers 500" in case.run("plan", str(FLOW))
    case.parrot.refusing.clear()
    mart = case.environ["TRUNKLINE_PARAMS_MART_URL"].replace("hdMart7x", "hdOther7x")
    said = case.run("doctor", str(FLOW), TRUNKLINE_PARAMS_MART_URL=mart)
    assert "Access denied" in said
    with worker_of(case, "locked out", **{variable: case.marked.secret("Refused")}) as worker:
        eventually(lambda: "refuses the user" in case.page(worker, "/readyz"), "it says why")


def letters(case: Case, destination: str) -> bool:
    """Whether it has dead letters, with all that they say."""
    said = case.run("dlq", "list", f"{case.name}.{destination}", "--json")
    if not json.loads(said):
        return False
    case.run("dlq", "show", f"{case.name}.{destination}", "0/0")
    case.run("dlq", "show", f"{case.name}.{destination}", "0/0", "--json")
    return True


def looks(case: Case, worker: WorkerProcess) -> None:
    """Every command that tells of a flow, and every page."""
    flow, name = str(FLOW), case.name
    for words in (
        ("check", flow),
        ("doctor", flow),
        ("plan", flow),
        ("plan", flow, "--json"),
        ("graph", flow),
        ("acls", flow, "--format", "strimzi"),
        ("acls", flow, "--format", "json"),
        ("status", name),
        ("status", name, "--json"),
        ("destination", "status", f"{name}.crm", "--json"),
        ("destination", "status", f"{name}.erp"),
        ("source", "status", f"{name}.prices", "--json"),
        ("source", "status", f"{name}.shop"),
        ("source", "check", flow, "--json"),
        ("dlq", "group", f"{name}.crm"),
        ("dlq", "group", f"{name}.legacy", "--json"),
        ("events", f"{name}.orders", "--json"),
        ("events", f"{name}.legacy.retry.1s", "--json"),
        ("audit", name),
        ("alert", "test"),
    ):
        case.run(*words)
    for page in ("/metrics", "/readyz", "/healthz"):
        case.page(worker, page)


def search_kafka(case: Case, locked: Locked) -> None:
    """Every record of every topic, in each part of it."""
    plain = Backbone(bootstrap=locked.server.address)
    topics = [name for name in kafka.existing_topics(kafka.admin(plain)) if name[:2] != "__"]
    assert f"{case.name}.crm.dlq" in topics
    for topic in topics:
        parts = [
            part or b""
            for message in read(plain, topic)
            for part in (
                message.key(),
                message.value(),
                *(value for _, value in message.headers() or []),
            )
        ]
        case.seen[f"topic {topic}"] = b"\n".join(parts)
