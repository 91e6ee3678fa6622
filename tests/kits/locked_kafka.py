"""A Kafka that is locked: TLS, SASL, client certificates, and an authorizer that allows nothing
which is not granted."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from trunkline.kafka.rights import Right
from trunkline.local.kafka import LOG4J, Kafka
from trunkline.local.ports import free_port
from trunkline.local.process import Child, Command
from trunkline.params import Backbone

_RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}
_PREFIXED = ResourcePatternType.PREFIXED
PASSWORD = "m4rked/se@cr%et"  # what a test looks for in everything that is written
PLAIN_USER, SCRAM_USER, CERTIFIED_USER = "plain-user", "scram-user", "certified-user"
TOKEN_USER = "token-user"


class Authority:
    """A certificate authority of its own, which signs what ``certificate`` is asked for."""

    def __init__(self, home: Path, name: str = "authority") -> None:
        self._home = home
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._signed(self._name, self._key.public_key(), ca=True)
        self.location = home / f"{name}.pem"
        self.location.write_bytes(_pem(self._certificate))

    def certificate(self, name: str) -> tuple[Path, Path]:
        """The files of a certificate for a host on 127.0.0.1 or a user, and of its key; the first
        one has both."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._signed(subject, key.public_key(), ca=False)
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        both, alone = self._home / f"{name}.pem", self._home / f"{name}.key"
        both.write_bytes(secret + _pem(made) + _pem(self._certificate))
        alone.write_bytes(secret)
        return both, alone

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, ca: bool
    ) -> x509.Certificate:
        now, here = datetime.now(UTC), x509.IPAddress(ip_address("127.0.0.1"))
        return (
            x509.CertificateBuilder(self._name, subject, key, x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([here]), critical=False)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


class LockedKafka(Kafka):
    """A broker with ``address`` without any lock, for the test as administrator; the listeners in
    ``ports`` are for those who are tested."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, free_port())
        self.ports = {name: free_port() for name in ("SASL", "MUTUAL", "OPEN", "OAUTH")}
        self.authority = Authority(home)
        self.certificate, _ = self.authority.certificate("broker")

    @property
    def settings(self) -> dict[str, object]:
        plain, ports = super().settings, self.ports
        listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())
        login = "org.apache.kafka.common.security"
        return plain | {
            "listeners": f"{plain['listeners']},{listeners}",
            "advertised.listeners": f"{plain['advertised.listeners']},{listeners}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
            "SASL:SASL_SSL,MUTUAL:SSL,OPEN:SASL_PLAINTEXT,OAUTH:SASL_SSL",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            # The broker itself, and the test: both come without a name.
            "super.users": "User:ANONYMOUS",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
            **{
                f"listener.name.{name}.plain.sasl.jaas.config": f"{login}.plain.PlainLoginModule "
                f'required user_{PLAIN_USER}="{PASSWORD}";'
                for name in ("sasl", "open")
            },
            **{
                f"listener.name.{name}.scram-sha-512.sasl.jaas.config": f"{login}.scram."
                "ScramLoginModule required;"
                for name in ("sasl", "open")
            },
            # It takes unsigned tokens: whom it believes is Kafka's own matter.
            "listener.name.oauth.sasl.enabled.mechanisms": "OAUTHBEARER",
            "listener.name.oauth.oauthbearer.sasl.jaas.config": f"{login}.oauthbearer."
            'OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";',
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self.certificate,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.authority.location,
            "listener.name.mutual.ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/",
        }

    @property
    def denials(self) -> list[str]:
        """What the authorizer refused, as its log has it."""
        lines = self.log.read_text("utf-8", "replace").splitlines()
        return [line for line in lines if " is Denied " in line]

    def _command(self, main: str, *options: str) -> Command:
        command, logging = super()._command(main, *options), self.home / "log4j2.properties"
        told = "logger.acl.name = kafka.authorizer.logger\nlogger.acl.level = info\n"
        logging.write_text(LOG4J.read_text("utf-8") + told)
        ours = [
            f"-Dlog4j2.configurationFile={logging}" if "log4j2." in part else part
            for part in command.arguments
        ]
        return replace(command, arguments=tuple(ours))


@dataclass
class Locked:
    """A locked broker that runs, and its administrator."""

    server: LockedKafka
    admin: AdminClient

    def backbone(self, listener: str, **settings: str) -> Backbone:
        """The addresses of a client of a listener: SASL, MUTUAL, OPEN, OAUTH. Without more settings
        it is let in; a setting's dots are underscores here."""
        given = {name.replace("_", "."): text for name, text in settings.items()}
        return Backbone(
            bootstrap=f"127.0.0.1:{self.server.ports[listener]}",
            kafka={**self._settings(listener), **given},
        )

    def _settings(self, listener: str) -> dict[str, str]:
        authority = {"ssl.ca.location": str(self.server.authority.location)}
        if listener == "MUTUAL":
            both, key = self.server.authority.certificate(CERTIFIED_USER)
            return {
                **authority,
                "security.protocol": "SSL",
                "ssl.certificate.location": str(both),
                "ssl.key.location": str(key),
            }
        if listener == "OAUTH":
            return {
                **authority,
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": "OAUTHBEARER",
                "enable.sasl.oauthbearer.unsecure.jwt": "true",
                "sasl.oauthbearer.config": f"principal={TOKEN_USER}",
            }
        return {
            **(authority if listener == "SASL" else {}),
            "security.protocol": "SASL_SSL" if listener == "SASL" else "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": SCRAM_USER,
            "sasl.password": PASSWORD,
        }

    def grant(self, user: str, rights: Iterable[Right]) -> None:
        """Allow a user this."""
        made = [
            AclBinding(
                _RESOURCES[right.resource],
                right.name,
                _PREFIXED if right.prefixed else ResourcePatternType.LITERAL,
                f"User:{user}",
                "*",
                AclOperation[_operation(name)],
                AclPermissionType.ALLOW,
            )
            for right in rights
            for name in right.operations
        ]
        for future in self.admin.create_acls(made).values():
            future.result(10)

    def revoke_all(self) -> None:
        """Allow nothing to anybody."""
        every = AclBindingFilter(
            ResourceType.ANY,
            None,
            ResourcePatternType.ANY,
            None,
            None,
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        for future in self.admin.delete_acls([every]).values():
            future.result(10)


def _operation(name: str) -> str:
    """``DescribeConfigs`` as Kafka's protocol writes it: ``DESCRIBE_CONFIGS``."""
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", name).upper()


@contextmanager
def locked_kafka() -> Iterator[Locked]:
    """One that runs until the block ends."""
    with tempfile.TemporaryDirectory(prefix="trunkline-locked-") as home:
        server = LockedKafka(Path(home))
        server.prepare()
        child = Child(server.command())
        try:
            child.wait_ready()
            admin = AdminClient({"bootstrap.servers": server.address})
            credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
            user = UserScramCredentialUpsertion(SCRAM_USER, credential, PASSWORD.encode())
            for future in admin.alter_user_scram_credentials([user]).values():
                future.result(10)
            yield Locked(server, admin)
        finally:
            child.stop()
