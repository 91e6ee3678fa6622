"""The servers' files: Maven artifacts locked by version and checksum, cached for all clones.

``artifacts.lock.json`` names every file of a bundle (``kafka``, ``registry``, …) with its Maven
coordinate ``group:artifact:version[:classifier]:type``, sha256 and size; ``python -m
trunkline.local.lock`` writes it. So a download needs no resolver, and a second start no network.

The cache is ``$TRUNKLINE_CACHE``, else ``$XDG_CACHE_HOME/trunkline``, else ``~/.cache/trunkline``.
``$TRUNKLINE_MAVEN`` is the base URL of another Maven repository, such as a company's mirror.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources
from pathlib import Path
from threading import Event
from typing import IO

import httpx
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from trunkline.errors import MissingExtra, TrunklineError
from trunkline.local.disk import full_disk_explained

console = Console(stderr=True)
ELSEWHERE = "What there was of it is removed. Free space, or set TRUNKLINE_CACHE to another disk."


class ArtifactError(TrunklineError):
    """A file of the local servers cannot be had; the message says which, why, and what to do."""


@dataclass(frozen=True)
class Artifact:
    """One locked file of a Maven repository."""

    coordinate: str
    sha256: str
    size: int

    @property
    def path(self) -> str:
        """Where the file lies in a Maven repository, and in the cache."""
        group, artifact, version, *classifier, kind = self.coordinate.split(":")
        name = "-".join([artifact, version, *classifier])
        return f"{group.replace('.', '/')}/{artifact}/{version}/{name}.{kind}"


def cache_dir() -> Path:
    """The folder that all clones share."""
    if chosen := os.environ.get("TRUNKLINE_CACHE"):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return (Path(base).expanduser() / "trunkline").absolute()


def repository() -> str:
    """The base URL of the Maven repository.

    Raises MissingExtra without jgo, which knows the public default.
    """
    if chosen := os.environ.get("TRUNKLINE_MAVEN"):
        return chosen.rstrip("/")
    try:
        from jgo.constants import MAVEN_CENTRAL_URL
    except ImportError as error:
        raise MissingExtra("the local stack", "local") from error
    return str(MAVEN_CENTRAL_URL)


def native(bundle: str) -> str:
    """The name of a bundle of machine code on this machine, such as ``postgres-linux-amd64``."""
    machine = {"x86_64": "amd64", "aarch64": "arm64", "AMD64": "amd64"}.get(platform.machine())
    return f"{bundle}-{platform.system().lower()}-{machine or platform.machine()}"


@cache
def _lock() -> dict[str, tuple[Artifact, ...]]:
    text = resources.files("trunkline.local").joinpath("artifacts.lock.json").read_text("utf-8")
    return {name: tuple(Artifact(**f) for f in files) for name, files in json.loads(text).items()}


def locked(bundle: str) -> tuple[Artifact, ...]:
    """The files of a bundle. Raises ArtifactError if there is none of that name."""
    try:
        return _lock()[bundle]
    except KeyError:
        known = ", ".join(sorted(_lock()))
        raise ArtifactError(f"there are no files of {bundle!r}; the lock has: {known}") from None


def fetch(*bundles: str) -> None:
    """Download what the cache lacks of these bundles, with progress bars. Offline if it has all.

    Raises ArtifactError (no network, a wrong checksum) or DiskFull. No partial file is left.
    """
    if not any(_missing(bundle) for bundle in bundles):
        return
    with exclusively("download"), _progress() as progress, httpx.Client(timeout=30) as client:
        shutil.rmtree(_parts(), ignore_errors=True)  # of a process that was killed
        missing = {bundle: found for bundle in bundles if (found := _missing(bundle))}
        _all_or_stop(list(_downloads(client, progress, missing)))


class _Stopped(Exception):
    """A download that was told to stop because another one failed."""


def files(bundle: str) -> list[Path]:
    """The cached files of a bundle, downloaded if they are missing. Raises as ``fetch``."""
    fetch(bundle)
    return [cache_dir() / artifact.path for artifact in locked(bundle)]


def unpacked(bundle: str, into: Path | None = None) -> Path:
    """The folder with the contents of a bundle's one archive: a tar.gz, a jar, or a jar with a txz.

    ``into``: where unpacked archives are kept, by default in the cache. Complete or not there.
    Raises as ``fetch``.
    """
    (archive,) = files(bundle)
    root = into or cache_dir() / "unpacked"
    target = root / f"{bundle}-{locked(bundle)[0].sha256[:12]}"
    if target.exists():
        return target
    with exclusively(f"unpack-{bundle}"), full_disk_explained(root, ELSEWHERE):
        if not target.exists():
            _unpack(archive, target)
    return target


@contextmanager
def exclusively(task: str) -> Iterator[None]:
    """One process of this cache at a time; the others wait, and say so."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    with open(cache_dir() / f".{task}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.print(f"waiting for another trunkline on this machine ({task}) …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _missing(bundle: str) -> list[Artifact]:
    """What is not in the cache. A name in the cache is a verified file: see ``_download``."""
    return [a for a in locked(bundle) if not (cache_dir() / a.path).is_file()]


def _progress() -> Progress:
    columns = (TextColumn("{task.description:<24}"), BarColumn(), DownloadColumn())
    return Progress(*columns, TransferSpeedColumn(), console=console)


def _bar(progress: Progress, bundle: str, missing: list[Artifact]) -> Callable[[int], None]:
    task = progress.add_task(bundle, total=sum(artifact.size for artifact in missing))
    return lambda amount: progress.advance(task, amount)


def _downloads(
    client: httpx.Client, progress: Progress, missing: dict[str, list[Artifact]]
) -> Iterator[Callable[[Event], None]]:
    for bundle, artifacts in missing.items():
        advance = _bar(progress, bundle, artifacts)
        for artifact in artifacts:
            yield partial(_download, client, artifact, advance)


def _all_or_stop(jobs: list[Callable[[Event], None]]) -> None:
    """Run downloads side by side; if one fails, or we are interrupted, the others end at once."""
    stop = Event()
    with ThreadPoolExecutor(6) as pool:
        downloads = [pool.submit(job, stop) for job in jobs]
        try:
            for download in as_completed(downloads):
                download.result()
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _download(
    client: httpx.Client, artifact: Artifact, advance: Callable[[int], None], stop: Event
) -> None:
    """Put a verified file into the cache under its name, by one rename, or nothing at all."""
    target = cache_dir() / artifact.path
    with full_disk_explained(target, ELSEWHERE), _network_explained(artifact):
        target.parent.mkdir(parents=True, exist_ok=True)
        with _part() as part:
            digest = hashlib.sha256()
            for chunk in _chunks(client, f"{repository()}/{artifact.path}", stop):
                part.write(chunk)
                digest.update(chunk)
                advance(len(chunk))
            part.flush()
            _verify(artifact, digest.hexdigest())
            os.replace(part.name, target)


def _chunks(client: httpx.Client, url: str, stop: Event) -> Iterator[bytes]:
    with client.stream("GET", url, follow_redirects=True) as response:
        response.raise_for_status()
        for chunk in response.iter_bytes(1 << 16):
            if stop.is_set():
                raise _Stopped
            yield chunk


def _verify(artifact: Artifact, found: str) -> None:
    if found != artifact.sha256:
        raise ArtifactError(
            f"{artifact.coordinate} from {repository()} has the sha256 {found}, and not the locked "
            f"{artifact.sha256}; it was thrown away. Is TRUNKLINE_MAVEN a faithful mirror?"
        )


def _parts() -> Path:
    """Where downloads grow: on the disk of the cache, for the rename."""
    return cache_dir() / "parts"


@contextmanager
def _part() -> Iterator[IO[bytes]]:
    """A new file that vanishes unless it is renamed."""
    _parts().mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=_parts(), delete=False) as part:
        try:
            os.fchmod(part.fileno(), 0o644)
            yield part
        finally:
            Path(part.name).unlink(missing_ok=True)


@contextmanager
def _network_explained(artifact: Artifact) -> Iterator[None]:
    try:
        yield
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        raise ArtifactError(f"{artifact.coordinate}: {repository()} answers {status}") from error
    except httpx.TransportError as error:
        raise ArtifactError(
            f"{artifact.coordinate} is not in the cache ({cache_dir()}) and {repository()} cannot "
            f"be reached: {error}. The first start needs the network, or TRUNKLINE_MAVEN set to a "
            f"mirror, or TRUNKLINE_CACHE set to a filled cache."
        ) from error


def _unpack(archive: Path, target: Path) -> None:
    part = target.with_name(f".{target.name}")
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
    part.mkdir(parents=True)
    for folder in (part, part.parent):  # whatever the umask: a server may run as another user
        folder.chmod(0o755)
    try:
        archives = [archive]
        if archive.suffix == ".jar":
            _unzip(archive, part)
            archives = list(part.glob("*.txz"))
        for inner in archives:
            with tarfile.open(inner) as tar:
                # The first releases of Python 3.11 have no filters yet, and newer ones insist.
                tar.extraction_filter = getattr(tarfile, "data_filter", None)
                tar.extractall(part)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _unzip(archive: Path, into: Path) -> None:
    """As shutil does it, but what was executable stays executable."""
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            path = Path(file.extract(member, into))
            if not member.is_dir() and member.external_attr >> 16 & 0o111:
                path.chmod(0o755)
