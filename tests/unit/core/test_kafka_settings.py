"""Settings of Kafka's clients: where they come from, and which are not taken."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaException, Producer

from trunkline.errors import ConfigurationError
from trunkline.kafka import admin
from trunkline.kafka_settings import NAMES, RESERVED, setting_of
from trunkline.params import Backbone, ParameterError, load_backbone

MARKED = "m4rked/se@cr%et"


def loaded(table: object = None, **variables: str) -> dict[str, str]:
    file = {"trunkline": {} if table is None else {"kafka": table}}
    environ = {f"TRUNKLINE_KAFKA__{name}": text for name, text in variables.items()}
    return load_backbone(file, environ=environ).kafka


def objection(table: object = None, **variables: str) -> str:
    with pytest.raises(ParameterError) as caught:
        loaded(table, **variables)
    return caught.value.problems["kafka"]


def test_each_setting_has_a_variable() -> None:
    assert {setting_of(name.upper().replace(".", "_")) for name in NAMES} == NAMES
    found = loaded(SASL_PASSWORD=MARKED, LOG_LEVEL="3", SSL_CA_LOCATION="ca.pem")
    assert found == {"sasl.password": MARKED, "log_level": "3", "ssl.ca.location": "ca.pem"}


def test_the_environment_wins_over_the_file() -> None:
    table = {"sasl.username": "file", "sasl.mechanism": "PLAIN"}
    assert loaded(table, SASL_USERNAME="here") == {**table, "sasl.username": "here"}


def test_names_in_a_file_may_stand_without_quotes_and_values_be_numbers() -> None:
    """TOML makes tables of ``ssl.ca.location = …``."""
    table = {"ssl": {"ca": {"location": "ca.pem"}}, "linger": {"ms": 5}, "check.crcs": True}
    found = {"ssl.ca.location": "ca.pem", "linger.ms": "5", "check.crcs": "true"}
    assert loaded(table) == found
    assert loaded(table, SSL_CA_LOCATION="other.pem") == {**found, "ssl.ca.location": "other.pem"}


def test_a_misspelt_name_is_told_with_the_nearest_one() -> None:
    said = "sasl.pasword is no setting of a Kafka client: did you mean sasl.password?"
    assert said in objection({"sasl.pasword": MARKED})
    assert said in objection(SASL_PASWORD=MARKED)
    assert MARKED not in objection(SASL_PASWORD=MARKED)
    assert "see librdkafka's CONFIGURATION.md" in objection({"xyzzy": "1"})


@pytest.mark.parametrize("name", RESERVED)
def test_what_would_undo_a_guarantee_is_refused_with_the_reason(name: str) -> None:
    variable = name.upper().replace(".", "_")
    for said in (objection({name: "1"}), objection(**{variable: "1"})):
        assert f"{name} is Trunkline's own ({RESERVED[name]}): take it out" in said


def test_everything_wrong_is_said_at_once() -> None:
    said = objection({"group.id": "mine", "sasl.mechanis": "PLAIN"}, ISOLATION_LEVEL="x")
    assert "group.id is Trunkline's own" in said
    assert "did you mean sasl.mechanism?" in said
    assert "isolation.level is Trunkline's own" in said


def test_a_session_may_be_longer_and_not_shorter() -> None:
    assert loaded(SESSION_TIMEOUT_MS="45000") == {"session.timeout.ms": "45000"}
    assert "session.timeout.ms is below 10000" in objection(SESSION_TIMEOUT_MS="6000")


def test_one_text_for_all_settings_is_told_how_it_is_meant() -> None:
    with pytest.raises(ParameterError, match="TRUNKLINE_KAFKA__CLIENT_ID"):
        load_backbone({}, environ={"TRUNKLINE_KAFKA": "sasl.password=x"})


def test_a_program_is_refused_the_same() -> None:
    with pytest.raises(ValueError, match="acks is Trunkline's own"):
        Backbone(kafka={"acks": "1"})


@pytest.mark.parametrize("name", sorted({*NAMES, *RESERVED}))
def test_each_name_is_one_of_librdkafka(name: str) -> None:
    # The second one is always refused, so that no client is made.
    with pytest.raises((KafkaException, TypeError)) as caught:  # the latter for a boolean
        Producer({name: "x", "security.protocol": "never"})
    assert "No such configuration property" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("socket.timeout.ms", "30s", "socket.timeout.ms is a whole number of milliseconds"),
        ("session.timeout.ms", "5000.5", "session.timeout.ms is a whole number of milliseconds"),
        ("session.timeout.ms", 5000.0, "session.timeout.ms is below 10000"),
        ("fetch.max.bytes", "1MB", "fetch.max.bytes is a whole number of bytes"),
    ],
)
def test_a_number_that_librdkafka_would_read_half_of_is_refused(
    name: str, value: object, said: str
) -> None:
    """Of ``30s`` it takes 30, and says nothing."""
    assert said in objection({name: value})
    assert loaded({"socket.timeout.ms": 30000.0, "linger.ms": "0.5"}) == {
        "socket.timeout.ms": "30000",
        "linger.ms": "0.5",
    }


@pytest.mark.parametrize("name", ["ssl.key.location", "ssl.ca.location", "ssl.keystore.location"])
def test_a_key_where_its_file_belongs_is_told_and_not_shown(name: str) -> None:
    key = f"-----BEGIN PRIVATE KEY-----\n{MARKED * 40}\n-----END PRIVATE KEY-----"
    assert f"{name} is the path of a file" in objection({name: key})
    assert MARKED not in objection({name: key})
    with pytest.raises(ConfigurationError) as caught:  # one that was cut, or is no PEM
        admin(Backbone(kafka={name: MARKED * 40, "security.protocol": "SSL"}))
    assert f"there is no file {name}" in str(caught.value)
    assert MARKED not in str(caught.value)
