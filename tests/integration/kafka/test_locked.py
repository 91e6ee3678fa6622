"""A locked Kafka: who is let in; and what is said, within seconds, to whoever is not."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from locked_kafka import PASSWORD, PLAIN_USER, TOKEN_USER, Locked, locked_kafka
from marked_secrets import Parrot
from trunkline import kafka
from trunkline.admin.cluster import KafkaCluster
from trunkline.kafka.rights import Right
from trunkline.params import Backbone
from trunkline.streams.plan.resources import Resource

WRONG = "wr/o@n%g"


@pytest.fixture(scope="module")
def locked() -> Iterator[Locked]:
    with locked_kafka() as running:
        yield running


def topics(backbone: Backbone) -> dict[str, int]:
    return kafka.existing_topics(kafka.admin(backbone))


@pytest.mark.parametrize(
    ("listener", "more"),
    [
        ("SASL", {}),
        ("SASL", {"sasl_mechanism": "PLAIN", "sasl_username": PLAIN_USER}),
        ("OPEN", {}),
        ("MUTUAL", {}),
        ("OAUTH", {}),
    ],
)
def test_whoever_may_is_let_in(locked: Locked, listener: str, more: dict[str, str]) -> None:
    assert topics(locked.backbone(listener, **more)) == {}  # and sees nothing: no right is granted


def token(user: str) -> str:
    """A token that nobody has signed."""
    now = time.time()
    parts = {"alg": "none"}, {"sub": user, "iat": now - 60, "exp": now + 600}
    coded = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts)
    return ".".join(part.rstrip("=") for part in coded) + "."


def by_token(locked: Locked, server: Parrot) -> Backbone:
    """A client that gets its token of this server."""
    given = locked.backbone(
        "OAUTH",
        sasl_oauthbearer_method="oidc",
        sasl_oauthbearer_client_id="flows",
        sasl_oauthbearer_client_secret=PASSWORD,
        sasl_oauthbearer_token_endpoint_url=f"{server.url}/token",
    )
    return without(
        without(given, "enable.sasl.oauthbearer.unsecure.jwt"), "sasl.oauthbearer.config"
    )


def test_a_token_of_a_server_lets_its_user_in(locked: Locked) -> None:
    """Who it is, is what the token says: that user's rights count."""
    locked.grant(TOKEN_USER, [Right("topic", "of-tokens", ("Describe",))])
    locked.admin.create_topics([NewTopic("of-tokens", 1, 1)])["of-tokens"].result(10)
    answers = {"/token": {"access_token": token(TOKEN_USER), "token_type": "Bearer"}}
    with Parrot("", "", answers=answers) as server:
        assert topics(by_token(locked, server)) == {"of-tokens": 1}
        assert server.asked == {"/token": 1}


def test_a_server_that_gives_no_token_is_named_without_the_secret(locked: Locked) -> None:
    with Parrot("", "", refusing={"/token": 401}) as server:
        refused = kafka.admin(by_token(locked, server))
        with pytest.raises(kafka.KafkaUnavailable, match="no OAUTHBEARER token") as caught:
            kafka.existing_topics(refused, timeout=3.0)
    assert PASSWORD not in str(caught.value)


def without(backbone: Backbone, name: str) -> Backbone:
    left = {key: text for key, text in backbone.kafka.items() if key != name}
    return backbone.model_copy(update={"kafka": left})


def elsewhere(backbone: Backbone, bootstrap: str) -> Backbone:
    return backbone.model_copy(update={"bootstrap": bootstrap})


REFUSED: dict[str, tuple[Callable[[Locked], Backbone], str]] = {
    "another password": (
        lambda k: k.backbone("SASL", sasl_password=WRONG),
        r"refuses the user 'scram-user' or its password \(SCRAM-SHA-512\).*"
        "TRUNKLINE_KAFKA__SASL_PASSWORD",
    ),
    "another password, in plain": (
        lambda k: k.backbone("SASL", sasl_mechanism="PLAIN", sasl_username=PLAIN_USER + "s"),
        r"refuses the user 'plain-users' or its password \(PLAIN\)",
    ),
    "another mechanism": (
        lambda k: k.backbone("SASL", sasl_mechanism="SCRAM-SHA-256"),
        "does not take the mechanism SCRAM-SHA-256 but PLAIN,SCRAM-SHA-512: set sasl.mechanism",
    ),
    "no authority": (
        lambda k: without(k.backbone("SASL"), "ssl.ca.location"),
        "certificate of .* is not one of an authority that is trusted.*ssl.ca.location",
    ),
    "no client certificate": (
        lambda k: without(
            without(k.backbone("MUTUAL"), "ssl.certificate.location"), "ssl.key.location"
        ),
        "wants a client certificate, or another one: set ssl.certificate.location",
    ),
    "another host than the certificate's": (
        lambda k: elsewhere(k.backbone("SASL"), f"localhost:{k.server.ports['SASL']}"),
        "or is for another host",
    ),
    "plain text to TLS": (
        lambda k: k.backbone("SASL", security_protocol="PLAINTEXT"),
        "hangs up at the first word.*security.protocol is PLAINTEXT: set the listener's",
    ),
    "SASL in plain text to TLS": (
        lambda k: k.backbone("SASL", security_protocol="SASL_PLAINTEXT"),
        "hangs up at the first word.*security.protocol is SASL_PLAINTEXT: set the listener's",
    ),
    "TLS without SASL": (
        lambda k: k.backbone("SASL", security_protocol="SSL"),
        "hangs up at the first word.*security.protocol is SSL: set the listener's, as SASL_SSL",
    ),
    "plain text to SASL": (
        lambda k: k.backbone("OPEN", security_protocol="PLAINTEXT"),
        "hangs up at the first word.*security.protocol is PLAINTEXT: set the listener's",
    ),
    "TLS to plain text": (
        lambda k: elsewhere(k.backbone("MUTUAL"), k.server.address),
        "does not speak TLS on that port, and security.protocol is SSL",
    ),
    "SASL where there is none": (
        lambda k: elsewhere(k.backbone("OPEN"), k.server.address),
        "wants no SASL on that port, and security.protocol is SASL_PLAINTEXT",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_who_is_refused_is_told_the_reason_at_once(locked: Locked, case: str) -> None:
    backbone, sentence = REFUSED[case]
    began = time.monotonic()
    with pytest.raises(kafka.KafkaRefused, match=sentence) as caught:
        topics(backbone(locked))
    assert time.monotonic() - began < 8, "it waited until its timeout"  # which is 10 s
    assert PASSWORD not in str(caught.value)
    assert WRONG not in str(caught.value)


@pytest.mark.parametrize(
    ("bootstrap", "sentence"),
    [
        ("no-such-host.invalid:9092", r"address no-such-host\.invalid:9092 is unknown to DNS"),
        ("127.0.0.1:1", "nothing listens at Kafka's address 127.0.0.1:1: is TRUNKLINE_BOOTSTRAP"),
    ],
)
def test_an_outage_is_waited_for_and_then_told(bootstrap: str, sentence: str) -> None:
    """It may pass, as when a name server or a broker starts later than we."""
    with pytest.raises(kafka.KafkaUnavailable, match=sentence) as caught:
        kafka.existing_topics(kafka.admin(Backbone(bootstrap=bootstrap)), timeout=1.0)
    assert not isinstance(caught.value, kafka.KafkaRefused)


def test_a_topic_that_may_not_be_seen_is_told_from_one_that_is_not_there(locked: Locked) -> None:
    made = locked.admin.create_topics([NewTopic("hidden", 1, 1)])
    made["hidden"].result(10)
    client = kafka.admin(locked.backbone("SASL"))
    assert "hidden" not in kafka.existing_topics(client)
    with pytest.raises(kafka.KafkaForbidden, match=r"no right to topic 'hidden'.*trunkline acls"):
        kafka.existing_topics(client, expected=["hidden"])
    with (
        KafkaCluster(locked.backbone("SASL")) as cluster,  # as `trunkline plan` looks at it
        pytest.raises(kafka.KafkaForbidden, match="no right to topic 'hidden'"),
    ):
        cluster.look([Resource("topic", "hidden")], {})
    locked.admin.delete_topics(["hidden"])["hidden"].result(10)
