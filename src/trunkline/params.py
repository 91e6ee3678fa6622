"""A flow's parameters: typed, from the environment and ``environments/<name>.toml``.

Secrets are masked wherever they could be printed.

Precedence, highest first: the process environment (``TRUNKLINE_PARAMS_WAREHOUSE_URL`` for
``warehouse_url``), the environment's file, the field's default. The backbone's own addresses come
the same way, as ``TRUNKLINE_BOOTSTRAP`` or the file's ``[trunkline]`` table; parameters stand in
``[params]``, those of one flow among several in ``[params.<flow>]``.

The prefix keeps out what is in the environment for other reasons. A parameter ``user`` or ``path``
would be the shell's ``USER`` or ``PATH``; and beside a service ``shop`` Kubernetes sets
``SHOP_PORT=tcp://10.0.0.7:80`` in every pod.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
    field_validator,
)
from pydantic_core import CoreSchema, core_schema

from trunkline import kafka_settings
from trunkline.addresses import KafkaAddresses, RegistryAddresses
from trunkline.errors import ConfigurationError
from trunkline.masking import keep_secret, secrets_of_url
from trunkline.toml_text import tables_of

ModelT = TypeVar("ModelT", bound=BaseModel)

PARAMS_PREFIX = "TRUNKLINE_PARAMS_"
"""What the variables of flows' parameters begin with."""


class Secret:
    """Text that never shows itself: ``str``, ``repr``, logs and errors print ``***``."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself. Call it at the last moment, where the text is needed."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        return core_schema.no_info_plain_validator_function(
            cls._validated, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def _validated(cls, value: object) -> Secret:
        if isinstance(value, Secret):
            return value
        if isinstance(value, str):
            return cls(value)
        raise ValueError("a secret is text")


def revealed(value: Secret | str) -> str:
    """The text of a secret, or the text itself."""
    return value.reveal() if isinstance(value, Secret) else value


class ParameterError(ConfigurationError):
    """Parameters are missing, ill-typed or unknown; ``problems`` says what, by their names."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("\n".join(problems.values()))
        self.problems = dict(problems)


class Params(BaseModel):
    """Base of a flow's parameters: one typed field a parameter.

    An unknown name in the environment's file is an error: it is a misspelling more often than not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Backbone(BaseModel):
    """Where Kafka and the schema registry are, and what Trunkline may do there."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    bootstrap: KafkaAddresses = "localhost:9092"
    registry: RegistryAddresses = "http://localhost:8081/apis/ccompat/v7"
    registry_user: str = ""
    registry_password: Secret = Secret("")
    registry_token: Secret = Secret("")
    """A bearer token, instead of user and password."""
    registry_ca: str = ""
    """The file of the authority that signed the registry's certificate, beside those that the
    system trusts."""
    registry_certificate: str = ""
    """The file of a client certificate, maybe with its key; ``registry_key``: that of its key."""
    registry_key: str = ""
    registry_subjects: Literal["topic", "record", "topic-record"] = "topic"
    """How a topic's subject is named: Confluent's TopicNameStrategy, RecordNameStrategy,
    TopicRecordNameStrategy."""
    kafka: dict[str, str] = Field(default={}, repr=False)
    """More client settings of librdkafka, as ``security.protocol`` or ``sasl.password``; in a file
    their names may stand without quotes, as the tables ``sasl`` and ``security``."""
    create: bool = True
    """Whether missing topics are created and missing schemas registered at the start."""
    partitions: int = Field(default=4, ge=1, le=100_000)
    """Partitions of topics that are created."""
    replication: int = Field(default=1, ge=1, le=1_000)
    """Replicas of topics that are created; 3 in production."""
    data: str = ".trunkline/data"
    """The folder of what workers keep between two starts: tables with ``store="disk"``."""
    traces: str = ""
    """The address of an OpenTelemetry collector that takes OTLP over HTTP; "" for no traces."""
    traces_ratio: float = Field(default=0.01, ge=0, le=1)
    """The share of events whose way is traced."""
    topics: dict[str, dict[str, str | int]] = {}
    """By the name or a pattern of topics (``orders.*.inbox``) what they have instead: settings of
    Kafka's, as ``retention.ms``, ``partitions`` and ``replication``."""

    @field_validator("traces")
    @classmethod
    def _address_of_traces(cls, given: str) -> str:
        if given and (not given.startswith(("http://", "https://")) or "@" in given):
            raise ValueError(
                "write a whole address without user and password, as http://collector:4318; what "
                "the collector is to be shown stands in OTEL_EXPORTER_OTLP_HEADERS"
            )
        return given

    @field_validator("topics", mode="before")
    @classmethod
    def _settings_of_topics(cls, given: Any) -> Any:
        """As text, as Kafka shows them, and only those that there can be."""
        if not isinstance(given, Mapping):
            raise ValueError("it is a table of topics")  # noqa: TRY004 - as of ``kafka``
        return {name: kafka_settings.of_topic(name, said) for name, said in given.items()}

    @field_validator("kafka", mode="before")
    @classmethod
    def _settings(cls, given: Any) -> Any:
        """Only settings that there are, and that undo no guarantee."""
        if not isinstance(given, Mapping):
            message = "it is a table; a variable sets one key: TRUNKLINE_KAFKA__CLIENT_ID"
            raise ValueError(message)  # noqa: TRY004 - only of this pydantic makes a problem
        settings = dict(kafka_settings.flat(given))
        objections = [kafka_settings.objection(*setting) for setting in settings.items()]
        if any(objections):
            raise ValueError("; ".join(filter(None, objections)))
        return settings


_ENVIRONMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""A name, and no path: ``--env ../secrets/x`` would read another file than people expect."""


def environment_file(name: str, root: Path = Path("environments")) -> dict[str, Any]:
    """The tables of ``environments/<name>.toml``. Raises ConfigurationError if it is not there,
    not TOML, or has tables that nobody reads."""
    tables = environment_tables(name, root)
    for unread in unread_tables(tables):
        raise ConfigurationError(f"{root / name}.toml: {UNREAD.format(unread)}")
    return tables


def environment_tables(name: str, root: Path = Path("environments")) -> dict[str, Any]:
    """As ``environment_file``, with tables that nobody reads: ``unread_tables`` says which."""
    if not _ENVIRONMENT.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} names no environment: write prod for {root / 'prod.toml'}"
        )
    path = root / f"{name}.toml"
    try:
        return tables_of(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        there = ", ".join(sorted(p.stem for p in root.glob("*.toml"))) or "none"
        raise ConfigurationError(f"{path}: there is no such environment (found: {there})") from None
    except UnicodeDecodeError as error:
        bad = f"byte {error.start}"
        raise ConfigurationError(f"{path}: not UTF-8, as TOML is ({bad}): save it so") from None
    except ValueError as error:
        raise ConfigurationError(f"{path}: not TOML: {error}") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None


UNREAD = (
    "{!r} is read by nobody: parameters stand in [params], the backbone's addresses in "
    "[trunkline], who is alerted in [alerts]"
)


def unread_tables(tables: Mapping[str, Any]) -> list[str]:
    """The names in an environment's file that are none of its tables."""
    known = ("params", "trunkline", "alerts")
    return [name for name, v in tables.items() if name not in known or not isinstance(v, dict)]


def load_params(
    model: type[ModelT],
    file: Mapping[str, Any],
    *,
    flow: str = "",
    environ: Mapping[str, str] = os.environ,
) -> ModelT:
    """The parameters of ``model`` from a file's ``[params]`` and ``TRUNKLINE_PARAMS_*`` variables.

    ``[params.<flow>]`` adds to and wins over ``[params]``; the tables of other flows are not
    read, so that several flows can share a file. Raises ParameterError naming every missing,
    ill-typed or unknown parameter at once, without their values.
    """
    given, fields = file.get("params", {}), model.model_fields
    tables = {name: v for name, v in given.items() if isinstance(v, dict) and name not in fields}
    shared = {name: value for name, value in given.items() if name not in tables}
    return _load(model, {**shared, **tables.get(flow, {})}, PARAMS_PREFIX, environ)


def load_backbone(file: Mapping[str, Any], *, environ: Mapping[str, str] = os.environ) -> Backbone:
    """The backbone's addresses from a file's ``[trunkline]`` and ``TRUNKLINE_*`` variables.

    A setting of Kafka's clients is ``TRUNKLINE_KAFKA__SASL_PASSWORD`` for ``sasl.password``.
    Raises ParameterError, as ``load_params`` does.
    """
    table = {**file.get("trunkline", {}), **_registry_variables(environ)}
    if settings := _kafka_variables(environ):
        in_file = table.get("kafka", {})
        flat = dict(kafka_settings.flat(in_file)) if isinstance(in_file, Mapping) else {}
        table["kafka"] = {**flat, **settings}
    return _load(Backbone, table, "TRUNKLINE_", environ)


REGISTRY_PREFIX = "TRUNKLINE_REGISTRY__"


def _registry_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """What the registry's variables say that are written as Kafka's are, with two underscores.
    Raises ParameterError for one that there is not."""
    found, problems = {}, {}
    fields = [name for name in Backbone.model_fields if name.startswith("registry_")]
    for variable, text in environ.items():
        if not variable.startswith(REGISTRY_PREFIX):
            continue
        name = "registry_" + variable.removeprefix(REGISTRY_PREFIX).lower()
        if name in fields:
            found[name] = text
            continue
        near = difflib.get_close_matches(name, fields, 1) or fields
        meant = " or ".join(one.upper().replace("_", "__", 1) for one in near)
        problems[name] = (
            f"{variable} is no setting of the registry: did you mean TRUNKLINE_{meant}?"
        )
    if problems:
        raise ParameterError(problems)
    return found


KAFKA_PREFIX = "TRUNKLINE_KAFKA__"
"""What the variables of Kafka's settings begin with. Two underscores, so that what Kubernetes sets
beside a service ``trunkline-kafka`` (``TRUNKLINE_KAFKA_PORT``) is none."""


def _kafka_variables(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        kafka_settings.setting_of(name.removeprefix(KAFKA_PREFIX)): text
        for name, text in environ.items()
        if name.startswith(KAFKA_PREFIX)
    }


def load_table(
    model: type[ModelT],
    file: Mapping[str, Any],
    table: str,
    *,
    environ: Mapping[str, str] = os.environ,
) -> ModelT:
    """A model from a file's ``[<table>]`` and ``TRUNKLINE_<TABLE>_*`` variables; those of a model
    within it are ``TRUNKLINE_<TABLE>_<FIELD>_*``. Raises ParameterError, as ``load_params`` does.
    """
    return _load(model, dict(file.get(table, {})), f"TRUNKLINE_{table.upper()}_", environ)


def _load(
    model: type[ModelT], values: dict[str, Any], prefix: str, environ: Mapping[str, str]
) -> ModelT:
    try:
        made = model.model_validate(_with_variables(model, values, prefix, environ))
    except ValidationError as error:
        raise ParameterError(_explained(error, prefix, environ)) from None
    keep_secret(_secrets_in(made))
    return made


def _secrets_in(value: object) -> Iterator[str]:
    """All secrets of parameters, also of those within others, and the passwords in addresses."""
    if isinstance(value, Secret):
        yield value.reveal()
        if "://" in value.reveal():
            yield from secrets_of_url(value.reveal())
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets_in(getattr(value, name))
        if isinstance(value, Backbone):
            yield from kafka_settings.secrets(value.kafka)
            yield from secrets_of_url(*value.registry.split(","))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _secrets_in(inner)
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from _secrets_in(inner)


def _with_variables(
    model: type[BaseModel], values: dict[str, Any], prefix: str, environ: Mapping[str, str]
) -> dict[str, Any]:
    for attribute, field in model.model_fields.items():
        name = field.alias or attribute
        text = environ.get(prefix + name.upper())
        inner = _inner_model(field.annotation)
        if text is not None:
            values[name] = _listed(text) if _is_list(field.annotation) else text
        elif inner is not None and isinstance(within := values.get(name, {}), dict):
            variables = f"{prefix}{name.upper()}_"
            if found := _with_variables(inner, dict(within), variables, environ):
                values[name] = found
    return values


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    """The model of a field that is one, or one or None."""
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part
    return None


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _is_list(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", annotation) in (list, tuple) or any(
        _is_list(part) for part in get_args(annotation) if part is not type(None)
    )


def _explained(error: ValidationError, prefix: str, environ: Mapping[str, str]) -> dict[str, str]:
    """A message for each parameter. Only names and rules: a value could be a secret."""
    found: dict[str, str] = {}
    for problem in error.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in problem["loc"])
        mended = _mended(problem["type"], problem["msg"], name, prefix)
        bare = name.upper().replace(".", "_")
        if problem["type"] == "missing" and prefix == PARAMS_PREFIX and bare in environ:
            mended += f" ({bare} is set, but is not read: it may be somebody else's)"
        found[name] = f"parameter {name!r} {mended}"
    return found


_TABLES = {"TRUNKLINE_": "trunkline", "TRUNKLINE_ALERTS_": "alerts"}


def _mended(kind: str, message: str, name: str, prefix: str) -> str:
    table = _TABLES.get(prefix, "params")
    if kind == "extra_forbidden":
        others = (
            "" if prefix != PARAMS_PREFIX else "; what another flow has stands in [params.<flow>]"
        )
        return f"is unknown: take it out of [{table}]{others}"
    if kind == "missing":
        variable = prefix + name.upper().replace(".", "_")
        return f"is missing: set {variable} or {name} in [{table}]"
    return f"is wrong: {message.removeprefix('Value error, ')}"
