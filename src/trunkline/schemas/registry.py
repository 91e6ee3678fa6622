"""A schema registry's REST API, as Confluent defined it and Karapace and Apicurio speak it too.

Confluent's documentation calls it the Schema Registry API, version 1. Only what Trunkline needs
of it is here: Avro, without references.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

import httpx
from fastavro.schema import fullname

from trunkline.errors import ConfigurationError, RegistryUnavailable, SerializationError
from trunkline.params import Backbone, revealed

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
FORGET_UNKNOWN_AFTER = 10.0  # seconds in which a flood of bad events asks for an id only once
NO_SUCH_SUBJECT, NO_SUCH_VERSION, NO_SUCH_SCHEMA = 40401, 40402, 40403
BUSY = (408, 425, 429)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: Any

    @property
    def code(self) -> int:
        """The registry's own error code; 0 where a stranger answered."""
        code = self.body.get("error_code", 0) if isinstance(self.body, dict) else 0
        return int(code) if self.status >= 400 else 0

    @property
    def message(self) -> str:
        message = self.body.get("message") if isinstance(self.body, dict) else None
        return str(message or self.body)[:1000]


class Registry:
    """A client that asks for each thing once. May be used by any number of threads.

    Ids are immutable, so answers are kept for good. Every method raises RegistryUnavailable when
    the registry cannot be asked now (no connection, timeout, 5xx, 429) and ConfigurationError when
    it will never answer this program (401, 403, no registry at this address).
    """

    def __init__(
        self,
        url: str,
        *,
        user: str | None = None,
        password: str | None = None,
        timeout: float = 10.0,
    ) -> None:
        """``url``: the API's root, as ``http://registry:8081`` or, for Apicurio,
        ``http://registry:8080/apis/ccompat/v7``; it may carry the user and password instead.
        Nothing is asked before it is needed."""
        address = _checked(url)
        user, password = user or address.username, password or address.password
        self.url = str(address.copy_with(userinfo=b"")).rstrip("/")  # goes into messages
        self._client = httpx.Client(
            base_url=self.url,
            auth=(user, password) if user else None,
            headers={"Accept": f"{CONTENT_TYPE}, application/json", "Content-Type": CONTENT_TYPE},
            timeout=timeout,
        )
        self._schemas: dict[int, str] = {}
        self._ids: dict[tuple[str, str], int] = {}
        self._unknown: dict[int, float] = {}

    def schema(self, id: int) -> str:
        """The schema with this id, as JSON. Raises SerializationError if there is none."""
        known = self._schemas.get(id)
        if known is None:
            known = self._schemas[id] = self._fetch(id)
        return known

    def register(self, subject: str, schema_json: str) -> int:
        """The id of the schema in the subject, which is given this version if it lacks it.

        Raises ConfigurationError if the registry refuses it, with the registry's reasons.
        """
        return self._id(subject, schema_json, f"/subjects/{_safe(subject)}/versions")

    def lookup(self, subject: str, schema_json: str) -> int:
        """The id of the schema in the subject. Raises ConfigurationError if it is not there."""
        return self._id(subject, schema_json, f"/subjects/{_safe(subject)}")

    def compatible(self, subject: str, schema_json: str) -> list[str]:
        """What speaks against the schema as the subject's next version; empty if nothing does."""
        path = f"/compatibility/subjects/{_safe(subject)}/versions/latest?verbose=true"
        answer = self._ask("POST", path, {"schema": schema_json})
        if answer.code in (NO_SUCH_SUBJECT, NO_SUCH_VERSION):
            return []
        if answer.code:
            return [answer.message]
        self._expect(answer, "is_compatible", f"whether a schema suits {subject}")
        if answer.body["is_compatible"]:
            return []
        # Apicurio gives its reasons only to those who register.
        return answer.body.get("messages") or ["it is incompatible with the latest version"]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fetch(self, id: int) -> str:
        if self._unknown.get(id, 0.0) > time.monotonic():
            raise SerializationError(f"schema {id} is unknown to the registry at {self.url}")
        answer = self._ask("GET", f"/schemas/ids/{id}")
        if answer.code == NO_SUCH_SCHEMA:
            self._unknown[id] = time.monotonic() + FORGET_UNKNOWN_AFTER
            raise SerializationError(f"schema {id} is unknown to the registry at {self.url}")
        self._expect(answer, "schema", f"schema {id}")
        kind = answer.body.get("schemaType", "AVRO")
        if kind != "AVRO":
            raise SerializationError(f"schema {id} is not Avro but {kind}")
        return str(answer.body["schema"])

    def _id(self, subject: str, schema_json: str, path: str) -> int:
        known = self._ids.get((subject, schema_json))
        if known is None:
            answer = self._ask("POST", path, {"schema": schema_json})
            self._refused(answer, subject, schema_json)
            self._expect(answer, "id", f"the id of a schema of {subject}")
            known = self._ids[subject, schema_json] = int(answer.body["id"])
        return known

    def _refused(self, answer: _Answer, subject: str, schema_json: str) -> None:
        what = f"{_name(schema_json)} in subject {subject}"
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

    def _expect(self, answer: _Answer, member: str, what: str) -> None:
        body = answer.body if isinstance(answer.body, dict) else {}
        if answer.status != httpx.codes.OK or member not in body:
            raise ConfigurationError(
                f"{self.url} does not tell {what} but answers {answer.status}: {answer.message}; "
                "is this the address of a schema registry?"
            )

    def _ask(self, method: str, path: str, body: Any = None) -> _Answer:
        try:
            response = self._client.request(method, path, json=body)
        except httpx.RequestError as error:
            raise RegistryUnavailable(
                f"the schema registry at {self.url} cannot be asked: "
                f"{type(error).__name__}: {error}"
            ) from error
        self._answering(response)
        return _Answer(response.status_code, _body(response))

    def _answering(self, response: httpx.Response) -> None:
        status = response.status_code
        if status >= 500 or status in BUSY:
            raise RegistryUnavailable(
                f"the schema registry at {self.url} answers {status}: {response.text[:300]}"
            )
        if status in (401, 403):
            raise ConfigurationError(
                f"the schema registry at {self.url} refuses access ({status}): check its user and "
                "password, and what they are allowed to do"
            )


def registry_of(backbone: Backbone) -> Registry:
    """A client of the backbone's registry. Raises ConfigurationError for an address that is none;
    nothing is asked yet. Whoever calls this closes it."""
    return Registry(
        backbone.registry,
        user=backbone.registry_user or None,
        password=revealed(backbone.registry_password) or None,
    )


def _checked(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"the schema registry's address is wrong: {error}") from error
    if address.scheme not in ("http", "https") or not address.host:
        raise ConfigurationError("the schema registry's address must begin with http://HOST")
    return address


def _safe(subject: str) -> str:
    return quote(subject, safe="")


def _name(schema_json: str) -> str:
    schema = json.loads(schema_json)
    return fullname(schema) if isinstance(schema, dict) and "name" in schema else schema_json


def _body(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return response.text


def subject(topic: str) -> str:
    """The registry's subject of a topic's values (Confluent's TopicNameStrategy)."""
    return f"{topic}-value"
