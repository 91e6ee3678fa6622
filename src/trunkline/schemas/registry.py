"""A schema registry's REST API, as Confluent defined it and Karapace and Apicurio speak it too.

Confluent's documentation calls it the Schema Registry API, version 1. Only what Trunkline needs
of it is here: Avro. Schemas that refer to others are handed out complete.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import httpx

from trunkline.errors import (
    ConfigurationError,
    RegistryRefused,
    RegistryUnavailable,
    SerializationError,
)
from trunkline.masking import secrets_of_url
from trunkline.params import Backbone, revealed
from trunkline.schemas.references import References, same_schema
from trunkline.schemas.registry_access import (
    Answer,
    answer_text,
    body_of,
    checked_address,
    clock_ahead,
    require_trust,
    safe,
    tls_of,
)
from trunkline.schemas.subjects import name_of

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
FORGET_UNKNOWN_AFTER = 10.0
"""Seconds after which an id that the registry does not know is worth another question: one that
was registered a moment ago may not have reached each of its nodes."""
MOST_REFUSED = 10_000
"""Ids that are remembered as no schema for us, at the most: more than a micro-batch has events."""
MAX_ID = 2**31 - 1
"""The registry's ids are Java ints; what four bytes can say beyond is no id."""
NO_SUCH_SUBJECT, NO_SUCH_VERSION, NO_SUCH_SCHEMA = 40401, 40402, 40403
BUSY = (408, 425, 429)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why values of an id cannot be read. ``until``: when to ask again, on the monotonic clock."""

    reason: str
    until: float


class Registry:
    """A client that asks for each thing once. May be used by any number of threads.

    Ids are immutable, so answers are kept for good; that an id is unknown is kept for a while. A
    question about one id that gets a refusal (4xx, a schema that is not Avro) concerns the values
    of that id alone, once the registry has shown in any other answer that it is one. Every method
    raises RegistryUnavailable when
    the registry cannot be asked now (no connection, timeout, 5xx, 429) and RegistryRefused when it
    will not answer this program (401, 403, no registry at this address).
    """

    def __init__(
        self,
        url: str,
        *,
        user: str | None = None,
        password: str | None = None,
        token: str | None = None,
        ca: str = "",
        certificate: str = "",
        key: str = "",
        timeout: float = 10.0,
    ) -> None:
        """``url``: the API's root, as ``http://registry:8081`` or, for Apicurio,
        ``http://registry:8080/apis/ccompat/v7``; it may carry the user and password instead.
        Several, with commas between them, are nodes of one registry. ``token``: a bearer token.
        ``ca``, ``certificate``, ``key``: files, in PEM. Nothing is asked before it is needed."""
        addresses = [checked_address(part.strip()) for part in url.split(",")]
        first = addresses[0]
        user, password = user or first.username, password or first.password
        self._urls = [str(a.copy_with(userinfo=b"")).rstrip("/") for a in addresses]  # are told
        self._secrets = [*filter(None, (password, token)), *secrets_of_url(*url.split(","))]
        headers = {"Accept": f"{CONTENT_TYPE}, application/json", "Content-Type": CONTENT_TYPE}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        secured = any(address.scheme == "https" for address in addresses)
        self._client = httpx.Client(
            auth=(user, password) if user and not token else None,
            headers=headers,
            timeout=timeout,
            verify=tls_of(ca, certificate, key) if secured else True,
        )
        self._node = 0  # of the addresses: the one that answered last
        self._schemas: dict[int, str] = {}
        self._ids: dict[tuple[str, str], int] = {}
        self._refused_ids: dict[int, _Refusal] = {}
        self._references = References(lambda path: self._ask("GET", path))
        self._is_registry = False  # whether it has answered as one
        self.clock_ahead: float | None = None
        """Seconds that the registry's clock is ahead of ours by its last answer, give or take one;
        None while it did not say."""

    @property
    def url(self) -> str:
        """The address that is asked first, without secrets."""
        return self._urls[self._node]

    def schema(self, id: int) -> str:
        """The schema with this id, as JSON. Raises SerializationError if there is none.

        Asks only if nothing is known about the id; ``learn`` asks again about unknown ones.
        """
        known = self._schemas.get(id)
        return self.learn(id) if known is None and id not in self._refused_ids else self._known(id)

    def learn(self, id: int) -> str:
        """As ``schema``; but an id that was unknown is asked for again after some seconds.

        Why apart from it: decoding happens in the event loop, where a question would keep
        everything waiting. A flood of events of a JSON schema's id cost a request each there, and
        the worker's health page did not answer any more.
        """
        refusal = self._refused_ids.get(id)
        if id not in self._schemas and (refusal is None or refusal.until <= time.monotonic()):
            self._fetch(id)
        return self._known(id)

    def _known(self, id: int) -> str:
        if (known := self._schemas.get(id)) is not None:
            return known
        refusal = self._refused_ids.get(id)  # forgotten meanwhile, if thousands came at once
        raise SerializationError(refusal.reason if refusal else f"schema {id} cannot be had")

    def register(self, subject: str, schema_json: str) -> int:
        """The id of the schema in the subject, which is given this version if it lacks it.

        Raises ConfigurationError if the registry refuses it, with the registry's reasons.
        """
        return self._id(subject, schema_json, f"/subjects/{safe(subject)}/versions")

    def lookup(self, subject: str, schema_json: str) -> int:
        """The id of the schema in the subject, whose version may be in parts that it refers to.
        Raises ConfigurationError if it is not there."""
        if (known := self._ids.get((subject, schema_json))) is not None:
            return known
        answer = self._ask("POST", f"/subjects/{safe(subject)}", {"schema": schema_json})
        if answer.code == NO_SUCH_SCHEMA and (id := self._of_parts(subject, schema_json)):
            self._ids[subject, schema_json] = id
            return id
        return self._told_id(answer, subject, schema_json)

    def _of_parts(self, subject: str, schema_json: str) -> int | None:
        """The id of the version that is this schema once its references are resolved."""
        at = f"/subjects/{safe(subject)}/versions"
        numbers: list[int] = self._ask("GET", at).member("", list) or []
        for number in reversed(numbers):
            answer = self._ask("GET", f"{at}/{number}")
            parts = answer.member("references", list)
            if parts and same_schema(self._references.completed(answer), schema_json):
                return answer.member("id", int)
        return None

    def compatible(self, subject: str, schema_json: str) -> list[str]:
        """What speaks against the schema as the subject's next version; empty if nothing does."""
        path = f"/compatibility/subjects/{safe(subject)}/versions/latest?verbose=true"
        answer = self._ask("POST", path, {"schema": schema_json})
        if answer.code in (NO_SUCH_SUBJECT, NO_SUCH_VERSION):
            return []
        if answer.code:
            return [answer.message]
        if self._expect(answer, "is_compatible", bool, f"whether a schema suits {subject}"):
            return []
        # Apicurio gives its reasons only to those who register.
        reasons = answer.member("messages", list) or ["it is incompatible with the latest version"]
        return [str(reason) for reason in reasons]

    def subjects(self) -> list[str]:
        """The names of all subjects."""
        answer = self._ask("GET", "/subjects")
        return [str(name) for name in self._expect(answer, "", list, "its subjects")]

    def has(self, subject: str, schema_json: str) -> bool:
        """Whether the subject has this schema, in whichever version."""
        answer = self._ask("POST", f"/subjects/{safe(subject)}", {"schema": schema_json})
        if answer.code == NO_SUCH_SCHEMA:
            return self._of_parts(subject, schema_json) is not None
        if answer.code in (NO_SUCH_SUBJECT, NO_SUCH_VERSION):
            return False
        self._expect(answer, "id", int, f"whether a schema is in {subject}")
        return True

    def latest(self, subject: str) -> str | None:
        """The newest schema of a subject as it was registered; None if there is no such subject."""
        answer = self._ask("GET", f"/subjects/{safe(subject)}/versions/latest")
        if answer.code in (NO_SUCH_SUBJECT, NO_SUCH_VERSION):
            return None
        return self._expect(answer, "schema", str, f"the newest schema of {subject}")

    def versions(self, subject: str) -> list[int]:
        """The numbers of a subject's versions, the oldest first; [] if there is no such subject."""
        answer = self._ask("GET", f"/subjects/{safe(subject)}/versions")
        if answer.code in (NO_SUCH_SUBJECT, NO_SUCH_VERSION):
            return []
        found = self._expect(answer, "", list, f"the versions of {subject}")
        return sorted(number for number in found if isinstance(number, int))

    def version(self, subject: str, number: int) -> str | None:
        """A version's schema, as JSON; None if it went, or is no Avro."""
        answer = self._ask("GET", f"/subjects/{safe(subject)}/versions/{number}")
        if answer.code in (NO_SUCH_SUBJECT, NO_SUCH_VERSION):
            return None
        self._expect(answer, "schema", str, f"version {number} of {subject}")
        if answer.body.get("schemaType", "AVRO") != "AVRO":
            return None
        return self._references.completed(answer)

    def get(self, path: str) -> Any:
        """What a question of any kind is answered with 200: JSON, or text; None otherwise."""
        answer = self._ask("GET", path)
        return answer.body if answer.status == httpx.codes.OK else None

    def level(self, subject: str) -> str:
        """The compatibility level of a subject, as ``FULL_TRANSITIVE``: its own or that of all."""
        for path in (f"/config/{safe(subject)}", "/config"):
            answer = self._ask("GET", path)
            found = answer.member("compatibilityLevel", str)
            if answer.status == httpx.codes.OK and found:
                return found
        return self._expect(answer, "compatibilityLevel", str, f"the compatibility of {subject}")

    def register_whatever(self, subject: str, schema_json: str) -> None:
        """Register a schema even if it is incompatible: the subject's own rule is set aside for
        that moment. Raises ConfigurationError if the registry refuses it all the same."""
        path = f"/config/{safe(subject)}"
        before = self._ask("GET", path)
        own = before.member("compatibilityLevel", str) if before.status == httpx.codes.OK else None
        self._done(self._ask("PUT", path, {"compatibility": "NONE"}), f"the rule of {subject}")
        try:
            self.register(subject, schema_json)
        finally:
            back = {"compatibility": own}
            answer = self._ask("PUT", path, back) if own else self._ask("DELETE", path)
            self._done(answer, f"the rule of {subject}, which was {own or 'that of all'}")

    def delete(self, subject: str) -> None:
        """Delete a subject with all of its versions, as the registry does: ids stay readable, so
        that what was written with them can be read. One that is not there is no error."""
        answer = self._ask("DELETE", f"/subjects/{safe(subject)}")
        if answer.code not in (NO_SUCH_SUBJECT, NO_SUCH_VERSION):
            self._done(answer, f"subject {subject}")

    def _done(self, answer: Answer, what: str) -> None:
        if answer.status >= 300:
            raise ConfigurationError(
                f"the registry at {self.url} does not change {what}: "
                f"{answer.status} {answer.message}"
            )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fetch(self, id: int) -> None:
        """Ask for a schema, and remember the answer: the schema, or why there is none for us."""
        if not 0 <= id <= MAX_ID:
            self._refuse(id, f"schema {id} cannot exist: ids end at {MAX_ID}", for_good=True)
            return
        answer = self._ask("GET", f"/schemas/ids/{id}")
        if answer.code == NO_SUCH_SCHEMA:
            self._is_registry = True
            self._refuse(id, f"schema {id} is unknown to the registry at {self.url}")
            return
        if 400 <= answer.status < 500 and self._is_registry:
            told = f"{answer.status} {answer.message}"
            self._refuse(id, f"the registry at {self.url} refuses schema {id}: {told}")
            return
        self._expect(answer, "schema", str, f"schema {id}")
        kind = answer.body.get("schemaType", "AVRO")
        if kind != "AVRO":
            self._refuse(id, f"schema {id} is not Avro but {str(kind)[:100]}", for_good=True)
            return
        try:
            self._schemas[id] = self._references.completed(answer)
        except SerializationError as error:
            self._refuse(id, f"schema {id} cannot be read: {error}")

    def _refuse(self, id: int, reason: str, *, for_good: bool = False) -> None:
        until = float("inf") if for_good else time.monotonic() + FORGET_UNKNOWN_AFTER
        self._refused_ids.pop(id, None)
        self._refused_ids[id] = _Refusal(reason, until)
        while len(self._refused_ids) > MOST_REFUSED:  # the oldest first
            self._refused_ids.pop(next(iter(self._refused_ids)), None)

    def _id(self, subject: str, schema_json: str, path: str) -> int:
        known = self._ids.get((subject, schema_json))
        if known is None:
            answer = self._ask("POST", path, {"schema": schema_json})
            known = self._told_id(answer, subject, schema_json)
        return known

    def _told_id(self, answer: Answer, subject: str, schema_json: str) -> int:
        self._refused(answer, subject, schema_json)
        id = self._expect(answer, "id", int, f"the id of a schema of {subject}")
        self._ids[subject, schema_json] = id
        return id

    def _refused(self, answer: Answer, subject: str, schema_json: str) -> None:
        what = f"{name_of(schema_json)} in subject {subject}"
        if answer.code in (NO_SUCH_SUBJECT, NO_SUCH_SCHEMA):
            raise ConfigurationError(
                f"the registry at {self.url} does not have {what}, and registering it is not "
                "allowed here: register it in your pipeline, or allow it"
            )
        if answer.status == httpx.codes.CONFLICT:
            raise ConfigurationError(
                f"the registry at {self.url} refuses {what}: it is incompatible with an earlier "
                f"version ({answer.message}); give new fields a default, and rename or retype none"
            )
        if answer.code:
            raise ConfigurationError(
                f"the registry at {self.url} refuses {what}: {answer.status} {answer.message}"
            )

    def _expect(self, answer: Answer, member: str, kind: type[T], what: str) -> T:
        value = answer.member(member, kind) if answer.status == httpx.codes.OK else None
        if value is None:
            raise RegistryRefused(
                f"{self.url} does not tell {what} but answers {answer.status}: {answer.message}; "
                "is this the address of a schema registry?"
            )
        self._is_registry = True
        return value

    def _ask(self, method: str, path: str, body: Any = None) -> Answer:
        """Ask the node that answered last, then the others; another thread may do so meanwhile."""
        begin, count = self._node, len(self._urls)
        for turn in range(count):
            self._node = (begin + turn) % count
            try:
                return self._ask_at(self.url, method, path, body)
            except RegistryUnavailable as error:
                if turn == count - 1:
                    raise
                log.warning("%s; the next address is asked", error)
        raise AssertionError("there is at least one address")

    def _ask_at(self, url: str, method: str, path: str, body: Any) -> Answer:
        try:
            with self._client.stream(method, url + path, json=body) as response:
                text = answer_text(response, self._secrets)
        except (httpx.RequestError, httpx.StreamError) as error:
            require_trust(url, error)
            raise RegistryUnavailable(
                f"the schema registry at {url} cannot be asked: {type(error).__name__}: {error}"
            ) from error
        self.clock_ahead = clock_ahead(response, time.time())
        self._require_answer(response.status_code, text)
        return Answer(response.status_code, body_of(text))

    def _require_answer(self, status: int, text: str) -> None:
        if status >= 500 or status in BUSY:
            raise RegistryUnavailable(
                f"the schema registry at {self.url} answers {status}: {text[:300]}"
            )
        if status in (401, 403):
            raise RegistryRefused(
                f"the schema registry at {self.url} refuses access ({status}): check its user and "
                "password or its token, and what they are allowed to do"
            )


def registry_of(backbone: Backbone) -> Registry:
    """A client of the backbone's registry. Raises ConfigurationError for an address that is none;
    nothing is asked yet. Whoever calls this closes it."""
    return Registry(
        backbone.registry,
        user=backbone.registry_user or None,
        password=revealed(backbone.registry_password) or None,
        token=revealed(backbone.registry_token) or None,
        ca=backbone.registry_ca,
        certificate=backbone.registry_certificate,
        key=backbone.registry_key,
    )
