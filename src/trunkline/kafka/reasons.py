"""Why Kafka does not let us in, in sentences: what is wrong, where, and how to mend it.

librdkafka tells it to the error callback of a client and to its log, while the call that waits
only hears at its end that nothing answered. So each client has its ``Reasons`` (``clients.py``
makes both), and whoever waits looks at them.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException

from trunkline import kafka_settings
from trunkline.errors import TrunklineError
from trunkline.masking import concealed
from trunkline.params import Backbone


class KafkaUnavailable(TrunklineError):
    """The Kafka cluster does not answer."""


class KafkaRefused(KafkaUnavailable):
    """Kafka answers, but not to a client of these settings: another password, certificate,
    mechanism or protocol is needed. Waiting alone mends nothing."""


class KafkaFatal(KafkaUnavailable):
    """A client can never go on, as one in whose place Kafka has let another one."""


class KafkaForbidden(KafkaUnavailable):
    """Kafka knows who asks, and that account lacks a right."""


GRANT = "trunkline acls FLOW says what a flow needs"
DISCONNECTED = 2.0
"""Seconds after which it counts that a broker hung up at the first word. It is what a listener does
that expects TLS; but also a broker that ends at this moment."""
REPEAT = 30.0
"""Seconds after which a failure that goes on is logged again."""
_AT_THE_FIRST_WORD = re.compile(r"in state (APIVERSION_QUERY|AUTH_\w+|UP)\)")
_RIGHTS: Mapping[int, tuple[str, str]] = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: ("topic", "Read, Write and Describe"),
    KafkaError.GROUP_AUTHORIZATION_FAILED: ("consumer group", "Read"),
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: ("transactional id", "Write and Describe"),
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: ("cluster", "what it was asked for"),
}
_SUPPORTED = re.compile(r"supported mechanisms: ([\w,-]+)")
_FAILED_HOST = re.compile(r"Failed to resolve '([^']*)'")


@dataclass(frozen=True, slots=True)
class Reason:
    """``text``: a sentence. ``patience``: seconds for which it may still pass by itself; 0: it is
    final, as a wrong password, None: for as long as the cluster is away."""

    text: str
    patience: float | None


class Reasons:
    """What one client has heard. Its callback runs in whichever thread polls the client."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._reason: Reason | None = None
        self._since = 0.0

    def on_error(self, error: KafkaError) -> None:
        """librdkafka's ``error_cb``."""
        self._note(_explained(error, self._backbone))

    def on_log(self, text: str) -> None:
        """A line of librdkafka's log: it alone tells of a broker that hangs up without a word."""
        if "isconnected" in text and _AT_THE_FIRST_WORD.search(text):
            self._note(_hung_up(self._backbone))

    def _note(self, reason: Reason | None) -> None:
        known = self._reason
        if reason is None or reason == known or (known is not None and known.patience == 0):
            return
        self._reason, self._since = reason, time.monotonic()

    @property
    def text(self) -> str:
        """The most telling one, or ""."""
        return self._reason.text if self._reason else ""

    def clear(self) -> None:
        """Kafka has answered: whatever was wrong is over."""
        self._reason = None

    def without_secrets(self, text: str) -> str:
        """The text with *** for the values of passwords and keys."""
        return _without_secrets(text, self._backbone)

    def raise_final(self) -> None:
        """Raise KafkaRefused if waiting is of no use."""
        reason = self._reason
        if reason is None or reason.patience is None:
            return
        if time.monotonic() - self._since >= reason.patience:
            raise KafkaRefused(reason.text)


class ClientLog:
    """What a client of librdkafka is given as its logger. ``to``: None for a client whose errors
    are raised where it is used, and need not be told twice."""

    def __init__(self, reasons: Reasons, to: logging.Logger | None) -> None:
        self._reasons = reasons
        self._to = to
        self._told: dict[str, float] = {}

    def log(self, level: int, template: str, facility: str, client: str, text: str) -> None:
        """Hand on a line; of a failure that repeats, one a while: a client that cannot connect
        logs some lines a second."""
        self._reasons.on_log(text)
        if self._to is None:
            return
        if facility == "FAIL":
            what, now = text.partition(" (after ")[0], time.monotonic()
            if now - self._told.get(what, -REPEAT) < REPEAT:
                return
            self._told[what] = now
        self._to.log(level, template, facility, client, self._reasons.without_secrets(text))


def is_forbidden(failure: BaseException | KafkaError | None) -> bool:
    """Whether an error of Kafka's is that the account lacks a right."""
    error = failure.args[0] if isinstance(failure, KafkaException) else failure
    return isinstance(error, KafkaError) and error.code() in _RIGHTS


def is_fatal(error: KafkaError) -> bool:
    """Whether a client can never go on. A consumer gives such an error as a message of its own, of
    which confluent-kafka says only by the code that it is fatal."""
    return error.fatal() or error.code() == KafkaError._FATAL


def unavailable(
    what: str,
    failure: KafkaException | KafkaError,
    *,
    topic: str = "",
    group: str = "",
    rights: str = "",
) -> KafkaUnavailable:
    """What to raise for an error of Kafka's. ``what``: what could not be done, with which topic and
    group; ``rights``: those that it needs, where they are not the usual ones."""
    error = failure.args[0] if isinstance(failure, KafkaException) else failure
    code = error.code()
    if code not in _RIGHTS:
        return KafkaUnavailable(f"{what}: {error.str()}; try again once Kafka is up")
    kind, usual = _RIGHTS[code]
    name = {"topic": topic, "consumer group": group}.get(kind)
    subject = f"{kind} {name!r}" if name else f"the {kind}"
    return KafkaForbidden(
        f"{what}: this account has no right to {subject} ({error.str()}): grant it "
        f"{rights or usual}; {GRANT}"
    )


def _explained(error: KafkaError, backbone: Backbone) -> Reason | None:
    """The sentence for an error of a connection; None for one that says nothing."""
    code, text = error.code(), _without_secrets(error.str(), backbone)
    if code == KafkaError._AUTHENTICATION:
        return _authentication(text, backbone)
    if code == KafkaError._SSL:
        return _tls(text, backbone)
    if code == KafkaError._RESOLVE:
        return _unknown_host(text, backbone)
    if code == KafkaError._TRANSPORT:
        return _transport(text, backbone)
    return None


def _authentication(text: str, backbone: Backbone) -> Reason:
    at, given = backbone.bootstrap, backbone.kafka
    mechanism = given.get("sasl.mechanism") or given.get("sasl.mechanisms") or "GSSAPI"
    if "not valid in current SASL state" in text:
        return Reason(
            f"Kafka at {at} wants no SASL on that port, and security.protocol is "
            f"{given.get('security.protocol')}: set PLAINTEXT or SSL "
            "(TRUNKLINE_KAFKA__SECURITY_PROTOCOL), or give the port of its SASL listener",
            0,
        )
    if "nsupported SASL mechanism" in text or "does not support" in text:
        known = _SUPPORTED.search(text)
        theirs = f" but {known[1]}" if known else ""
        return Reason(
            f"Kafka at {at} does not take the mechanism {mechanism}{theirs}: set sasl.mechanism "
            "(TRUNKLINE_KAFKA__SASL_MECHANISM)",
            0,
        )
    if "token" in text.lower() and mechanism == "OAUTHBEARER":
        return Reason(f"no OAUTHBEARER token for Kafka at {at} could be had: {text}", None)
    user = given.get("sasl.username", "")
    return Reason(
        f"Kafka at {at} refuses the user {user!r} or its password ({mechanism}): set sasl.username "
        f"and sasl.password (TRUNKLINE_KAFKA__SASL_PASSWORD). Kafka says: {text}",
        0,
    )


def _tls(text: str, backbone: Backbone) -> Reason | None:
    at, protocol = backbone.bootstrap, backbone.kafka.get("security.protocol", "PLAINTEXT")
    if "PLAINTEXT broker" in text or "wrong version number" in text:
        return Reason(
            f"Kafka at {at} does not speak TLS on that port, and security.protocol is {protocol}: "
            "give the port of its TLS listener, or another security.protocol "
            "(TRUNKLINE_KAFKA__SECURITY_PROTOCOL)",
            0,
        )
    if "verify failed" in text:
        return Reason(
            f"the certificate of Kafka at {at} is not one of an authority that is trusted here, or "
            "is for another host: give your cluster's authority in ssl.ca.location "
            "(TRUNKLINE_KAFKA__SSL_CA_LOCATION), and an address that the certificate names. "
            f"TLS says: {text}",
            0,
        )
    if "alert" in text:
        return Reason(
            f"Kafka at {at} wants a client certificate, or another one: set "
            f"ssl.certificate.location and ssl.key.location. TLS says: {text}",
            0,
        )
    return Reason(f"TLS with Kafka at {at} fails: {text}", None)


def _unknown_host(text: str, backbone: Backbone) -> Reason:
    found = _FAILED_HOST.search(text)
    host = found[1] if found else backbone.bootstrap
    return Reason(f"Kafka's address {host} is unknown to DNS: is TRUNKLINE_BOOTSTRAP right?", None)


def _transport(text: str, backbone: Backbone) -> Reason | None:
    if "SSL" in text:
        return _tls(text, backbone)
    if "refused" in text:
        return Reason(
            f"nothing listens at Kafka's address {backbone.bootstrap}: is TRUNKLINE_BOOTSTRAP "
            "right, and is it up (trunkline up)?",
            None,
        )
    return None


def _hung_up(backbone: Backbone) -> Reason:
    protocol = backbone.kafka.get("security.protocol", "PLAINTEXT")
    return Reason(
        f"Kafka at {backbone.bootstrap} hangs up at the first word, as a listener does that speaks "
        f"another protocol, and security.protocol is {protocol}: set the listener's, as SASL_SSL "
        "(TRUNKLINE_KAFKA__SECURITY_PROTOCOL), or give another port",
        DISCONNECTED,
    )


def _without_secrets(text: str, backbone: Backbone) -> str:
    return concealed(text, kafka_settings.secrets(backbone.kafka))
