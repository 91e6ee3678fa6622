"""Debezium's connectors in a standalone Kafka Connect worker of their own.

Default settings but for what the job needs: which table, which converter, how often to poll.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks import environments, shop_mariadb
from benchmarks.servers import Servers
from benchmarks.shop import TABLE
from trunkline.local.ports import free_port

# What bin/connect-standalone.sh of Kafka's own distribution gives the JVM.
JVM = ("-Xms256M", "-Xmx2G", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20")
JSON = {"": "org.apache.kafka.connect.json.JsonConverter", ".schemas.enable": "false"}


def topic(prefix: str, table: str = TABLE) -> str:
    """The topic of the table's changes."""
    return f"{prefix}.{table}"


def command(
    prefix: str, at: Servers, *, avro: bool, more: Mapping[str, str], mariadb: bool = False
) -> list[str]:
    """A worker with one connector, of PostgreSQL or MariaDB, whose topics begin with ``prefix``.
    Raises Skipped."""
    classes = environments.class_path(environments.CONNECT_JARS, environments.LOGGING_JARS)
    home = at.logs / prefix
    jars = environments.DEBEZIUM_MARIADB_JARS if mariadb else environments.DEBEZIUM_JARS
    plugins = _plugins(home / "plugins", jars)
    converter = _avro(at.registry) if avro else JSON
    worker = _write(home / "worker.properties", _worker(at, home, plugins))
    connector = _write(
        home / "connector.properties",
        {
            **(_mariadb(prefix, at) if mariadb else _connector(prefix, at.postgres)),
            **{
                f"{part}.converter{k}": v for part in ("key", "value") for k, v in converter.items()
            },
            **more,
        },
    )
    main = "org.apache.kafka.connect.cli.ConnectStandalone"
    return [environments.java(), *JVM, "-cp", classes, main, str(worker), str(connector)]


def _worker(at: Servers, home: Path, plugins: Path) -> dict[str, str]:
    offsets = home / "offsets"
    offsets.unlink(missing_ok=True)
    return {
        "bootstrap.servers": at.bootstrap,
        "key.converter": JSON[""],
        "value.converter": JSON[""],
        "offset.storage.file.filename": str(offsets),
        "plugin.path": str(plugins),
        "listeners": f"http://127.0.0.1:{free_port()}",
    }


def _connector(prefix: str, dsn: str) -> dict[str, str]:
    url = urlsplit(dsn)
    return {
        "name": prefix,
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "plugin.name": "pgoutput",
        "database.hostname": url.hostname or "",
        "database.port": str(url.port),
        "database.user": url.username or "",
        "database.password": url.password or "none",
        "database.dbname": url.path.strip("/"),
        "topic.prefix": prefix,
        "table.include.list": TABLE,
        "slot.name": prefix,
        "publication.name": prefix,
        "publication.autocreate.mode": "filtered",
        "schema.name.adjustment.mode": "avro",
    }


def _mariadb(prefix: str, at: Servers) -> dict[str, str]:
    url = urlsplit(at.mariadb)
    return {
        "name": prefix,
        "connector.class": "io.debezium.connector.mariadb.MariaDbConnector",
        "database.hostname": url.hostname or "",
        "database.port": str(url.port),
        "database.user": shop_mariadb.USER,
        "database.password": shop_mariadb.PASSWORD,
        "database.ssl.mode": "disable",
        "database.server.id": "7001",
        "topic.prefix": prefix,
        "database.include.list": shop_mariadb.TABLE.split(".")[0],
        "table.include.list": shop_mariadb.TABLE,
        "schema.history.internal.kafka.bootstrap.servers": at.bootstrap,
        "schema.history.internal.kafka.topic": f"{prefix}_history",
        "schema.name.adjustment.mode": "avro",
    }


def _avro(registry: str) -> dict[str, str]:
    """Apicurio's converter; it speaks the registry's own API."""
    url = urlsplit(registry)
    return {
        "": "io.apicurio.registry.utils.converter.AvroConverter",
        ".apicurio.registry.url": f"{url.scheme}://{url.netloc}/apis/registry/v2",
        ".apicurio.registry.auto-register": "true",
    }


def _plugins(folder: Path, debezium: str) -> Path:
    """A plugin path: a folder of links to jars for each plugin. Raises Skipped."""
    parts = {"debezium": debezium, "avro": environments.CONVERTER_JARS}
    for name, coordinates in parts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for jar in environments.jars(coordinates):
            link = folder / name / jar.name
            link.unlink(missing_ok=True)
            link.symlink_to(jar)
    return folder


def _write(path: Path, properties: Mapping[str, str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()), "utf-8")
    return path
