"""Another Kafka cluster, and the schema registry beside it: where they are, and how one gets in."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from trunkline import kafka_settings
from trunkline.addresses import objection_to_brokers, objection_to_registry
from trunkline.errors import ConfigurationError
from trunkline.masking import concealed
from trunkline.params import Backbone, Secret, revealed
from trunkline.schemas.registry import Registry, registry_of

C = TypeVar("C")

_OF_OUR_CLUSTER = (
    "; trunkline acls FLOW says what a flow needs",
    "; see [trunkline.kafka] of the environment's file, and TRUNKLINE_KAFKA__… variables",
)
"""What errors advise that is of no use for another cluster than Trunkline's own."""

_VARIABLE = re.compile(r"(\(TRUNKLINE_KAFKA__\w+\)|TRUNKLINE_BOOTSTRAP|TRUNKLINE_REGISTRY\w*)")


@dataclass(frozen=True)
class KafkaCluster:
    """A Kafka cluster that is not Trunkline's own, or is, for topics that are none of its own.

    ``bootstrap``: ``host:port``, several with commas between them. ``settings``: more of
    librdkafka's, as ``security.protocol`` and ``sasl.password``; the same may be given as for
    Trunkline's own cluster (docs/operations.md), and secrets as Secret. ``registry``: the URL of
    the schema registry that its values name; ``registry_user`` and ``registry_password``, or
    ``registry_token``; ``registry_ca``, ``registry_certificate``, ``registry_key``: files in PEM.

    Raises ConfigurationError for settings that are none, or that would undo a guarantee.
    """

    bootstrap: str
    settings: Mapping[str, Secret | str] = field(default_factory=dict, repr=False)
    registry: str = ""
    registry_user: str = ""
    registry_password: Secret | str = field(default="", repr=False)
    registry_token: Secret | str = field(default="", repr=False)
    registry_ca: str = ""
    registry_certificate: str = ""
    registry_key: str = ""

    def __post_init__(self) -> None:
        if wrong := objection_to_brokers(self.bootstrap):
            raise ConfigurationError(f"KafkaCluster: bootstrap= is no address: {wrong}")
        if self.registry and (wrong := objection_to_registry(self.registry)):
            raise ConfigurationError(f"KafkaCluster: registry= is no address: {wrong}")
        texts = {name: revealed(value) for name, value in self.settings.items()}
        if problems := list(
            filter(None, (kafka_settings.objection(*one) for one in texts.items()))
        ):
            raise ConfigurationError("KafkaCluster: " + "; ".join(problems))

    def backbone(self, **more: str) -> Backbone:
        """The cluster as our clients take it. ``more``: settings of this use, by their names with
        underscores for dots; they are not held against what users may give."""
        texts = {name: revealed(value) for name, value in self.settings.items()}
        nowhere = "http://registry.invalid"  # without one nobody asks it: see open_registry
        return Backbone(
            bootstrap=self.bootstrap,
            registry=self.registry or nowhere,
            registry_user=self.registry_user,
            registry_password=_secret(self.registry_password),
            registry_token=_secret(self.registry_token),
            registry_ca=self.registry_ca,
            registry_certificate=self.registry_certificate,
            registry_key=self.registry_key,
        ).model_copy(
            update={"kafka": {**texts, **{k.replace("_", "."): v for k, v in more.items()}}}
        )

    def client(self, make: Callable[[Backbone], C], **more: str) -> C:
        """A client, as ``make`` makes it of this cluster. Raises ConfigurationError."""
        try:
            return make(self.backbone(**more))
        except ConfigurationError as error:
            text = f"KafkaCluster({self.bootstrap!r}): {self.told(error)}"
            raise ConfigurationError(text) from None

    def open_registry(self, who: str) -> Registry:
        """A client of its registry. Raises ConfigurationError, also where none was given."""
        if not self.registry:
            raise ConfigurationError(
                f"{who} reads or writes Avro, whose schemas are in a registry: give the "
                "KafkaCluster its registry="
            )
        return registry_of(self.backbone())

    def told(self, error: object) -> str:
        """An error's text for people: without secrets, and without the variables of Trunkline's own
        cluster, which would mend nothing here."""
        text = _VARIABLE.sub(_ours, str(error))
        texts = {name: revealed(value) for name, value in self.settings.items()}
        secret = [revealed(value) for value in self.settings.values() if isinstance(value, Secret)]
        of_registry = [revealed(self.registry_password), revealed(self.registry_token)]
        text = concealed(text, [*kafka_settings.secrets(texts), *secret, *of_registry])
        text = re.sub(r" +(?=[:;,.)]|$)", "", text)
        for of_ours in _OF_OUR_CLUSTER:
            text = text.replace(of_ours, "")
        return text


def _ours(found: re.Match[str]) -> str:
    if found[0].startswith("("):
        return ""
    return "bootstrap=" if found[0] == "TRUNKLINE_BOOTSTRAP" else "registry="


def _secret(value: Secret | str) -> Secret:
    return value if isinstance(value, Secret) else Secret(value)
