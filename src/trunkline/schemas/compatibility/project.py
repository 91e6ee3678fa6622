"""A project's types beside versions of them that are elsewhere: in a commit, in the registry."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from trunkline.errors import ConfigurationError
from trunkline.schemas.compatibility.exceptions import CompatibilityException
from trunkline.schemas.compatibility.resolve import Incompatibility, incompatibilities
from trunkline.schemas.generate.sources import read_domains
from trunkline.schemas.registry import Registry
from trunkline.schemas.subjects import name_of

LEVELS = {
    "NONE": (),
    "BACKWARD": ("backward",),
    "FORWARD": ("forward",),
    "FULL": ("backward", "forward"),
}
"""By a level's name without ``_TRANSITIVE``: which rules it asks for."""
TRANSITIVE = "_TRANSITIVE"
ASKED_AT_ONCE = 16
MOST_GIT_SECONDS = 60.0


class Version(NamedTuple):
    """A schema that was written with before. ``where``: as ``main`` or ``orders-value version 3``;
    ``level``: what must be compatible with it, as a registry names it."""

    type: str
    schema: str
    where: str
    level: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What speaks against a change. ``rule``: ``backward`` if new readers fail on what the other
    version wrote, ``forward`` if readers of that one fail on what is written now. ``exception``:
    why it is let through, "" if it is not."""

    type: str
    file: str
    version: str
    rule: str
    path: str
    reason: str
    mend: str
    exception: str = ""

    def __str__(self) -> str:
        at = in_words(self.rule, self.version, Incompatibility(self.path, self.reason, self.mend))
        return f"{at} (let through: {self.exception})" if self.exception else at


class ProjectTypes:
    """The types of a folder ``<domain>/<Type>.avsc``. Raises ConfigurationError, naming the file
    that is wrong."""

    def __init__(self, source: Path) -> None:
        self.source = source
        domains = read_domains(source)
        # A type inside of another one's file travels in that one, and is compared there.
        every = [
            (domain, one)
            for domain in domains
            for one in domain.types.values()
            if one.short == one.file.stem
        ]
        self.files = {one.name: str(one.file) for _, one in every}
        self.schemas = {one.name: domain.complete(one) for domain, one in every}

    def findings(
        self, versions: Iterable[Version], exceptions: Sequence[CompatibilityException] = ()
    ) -> list[Finding]:
        """What speaks against these types after those versions. Types that are only in one of both
        are none: a new one has no readers, and of one that is gone nothing is written."""
        found: list[Finding] = []
        for version in versions:
            now = self.schemas.get(version.type)
            if now is None or json.loads(now) == json.loads(version.schema):
                continue
            for rule in rules_of(version.level):
                found += self._by_rule(version, now, rule, exceptions)
        return found

    def _by_rule(
        self,
        version: Version,
        now: str,
        rule: str,
        exceptions: Sequence[CompatibilityException],
    ) -> Iterator[Finding]:
        let = [e.reason for e in exceptions if (e.type, e.rule) == (version.type, rule)]
        for one in _by_rule(rule, now, version.schema):
            yield Finding(
                version.type,
                self.files[version.type],
                version.where,
                rule,
                one.path,
                one.reason,
                one.mend,
                let[0] if let else "",
            )


def in_words(rule: str, version: str, one: Incompatibility) -> str:
    """Whom it concerns, where and why, and what mends it."""
    who = f"what {version} wrote" if rule == "backward" else f"readers of {version}"
    return f"{who}: {one.path}: {one.reason}; {one.mend}"


def _by_rule(rule: str, now: str, before: str) -> list[Incompatibility]:
    return incompatibilities(*((now, before) if rule == "backward" else (before, now)))


def against_subject(registry: Registry, subject: str, schema: str) -> list[str]:
    """Why a schema cannot be the next version of a subject, in words: each version that the
    subject's level asks for, all of them where it is transitive. [] if nothing speaks against it,
    in the registry's own opinion, too. Raises RegistryUnavailable, RegistryRefused."""
    level = registry.level(subject)
    known = level.removesuffix(TRANSITIVE) in LEVELS
    found = [
        in_words(rule, f"version {number}", one)
        for number, before in _compared(registry, subject, level)
        for rule in (rules_of(level) if known else ())
        for one in _by_rule(rule, schema, before)
    ]
    return found or registry.compatible(subject, schema)


def _compared(registry: Registry, subject: str, level: str) -> Iterator[tuple[int, str]]:
    """The versions that the next one must be compatible with, the oldest first."""
    numbers = registry.versions(subject)
    for number in numbers if level.endswith(TRANSITIVE) else numbers[-1:]:
        if (schema := registry.version(subject, number)) is not None:
            yield number, schema


def rules_of(level: str) -> Sequence[str]:
    """Which rules a compatibility level asks for. Raises ConfigurationError for any other text."""
    try:
        return LEVELS[level.removesuffix(TRANSITIVE)]
    except KeyError:
        known = ", ".join(sorted(LEVELS))
        raise ConfigurationError(
            f"{level!r} is no compatibility level: {known}, or with {TRANSITIVE} behind it"
        ) from None


def versions_in_git(source: Path, ref: str, level: str) -> list[Version]:
    """The types of the folder as they are in a commit; [] if it had none. Raises ConfigurationError
    for what git does not know, or where the files of then are no schemas."""
    root = Path(_git(source, "rev-parse", "--show-toplevel").decode().strip())
    folder = source.resolve().relative_to(root.resolve()).as_posix()
    found = _git(source, "rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}")
    commit = found.decode().strip()
    if not _git(root, "ls-tree", commit, "--", folder):
        return []
    archive = _git(root, "archive", "--format=tar", commit, "--", folder)
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(scratch, filter="data")
        if not list((Path(scratch) / folder).glob("*/*.avsc")):
            return []
        then = ProjectTypes(Path(scratch) / folder)
    return [Version(name, schema, ref, level) for name, schema in then.schemas.items()]


def versions_in_registry(registry: Registry, types: Iterable[str]) -> list[Version]:
    """The versions in the registry that the next one of each type must be compatible with, in all
    subjects of these types: the newest, or all of them where the subject's level is transitive.
    What is no Avro, or another type, is left out. Raises RegistryUnavailable, RegistryRefused."""
    wanted = set(types)
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        subjects = registry.subjects()
        newest = pool.map(registry.latest, subjects)
        ours = [
            (subject, name)
            for subject, schema in zip(subjects, newest, strict=True)
            if (name := _name_of(schema)) in wanted
        ]
        found = pool.map(lambda one: _of_subject(registry, *one), ours)
        return [version for versions in found for version in versions]


def _of_subject(registry: Registry, subject: str, name: str) -> list[Version]:
    level = registry.level(subject)
    return [
        Version(name, schema, f"{subject} version {number}", level)
        for number, schema in _compared(registry, subject, level)
        if _name_of(schema) == name
    ]


def _name_of(schema: str | None) -> str:
    """The full name of a schema's type; "" if it is no Avro, and no type's name if it has none."""
    try:
        return name_of(schema or "null")
    except (ValueError, TypeError):
        return ""


def _git(where: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(
            ["git", "-C", str(where), *arguments],
            capture_output=True,
            timeout=MOST_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"git cannot be run: {error}") from error
    if done.returncode:
        told = done.stderr.decode(errors="replace").strip()
        raise ConfigurationError(f"git {' '.join(arguments)}: {told}")
    return done.stdout
