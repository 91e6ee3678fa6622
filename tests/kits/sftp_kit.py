"""OpenSSH's server on a free port, for SFTP: the machine's own, else Debian's package, unpacked."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

import debian_kit
from program_kit import program
from trunkline.connectors.files import Sftp
from trunkline.local.artifacts import cache_dir
from trunkline.local.ports import free_port

pytest.importorskip("asyncssh", reason="no asyncssh (pip install 'trunkline[dev]')")

LIBRARY = "libwrap.so.0"
CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM yes
StrictModes no
Subsystem sftp internal-sftp
ForceCommand internal-sftp
"""


def sshd() -> list[str]:
    """The program, and the library that it needs beside it, if it is none of the machine's own.
    Skips where it cannot be had, but never in CI."""
    missing = "no sshd (install OpenSSH's server)"
    own = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if own is not None:
        return [own]
    kept = cache_dir() / "sshd"
    return [
        program(kept / "sshd", None, _sshd, missing),
        program(kept / LIBRARY, None, _library, missing),
    ]


def _sshd(folder: Path) -> bytes:
    return (debian_kit.unpacked(folder, "openssh-server") / "usr/sbin/sshd").read_bytes()


def _library(folder: Path) -> bytes:
    unpacked = debian_kit.unpacked(folder, "libwrap0")
    return next(unpacked.glob(f"usr/lib/*/{LIBRARY}")).read_bytes()


class SftpServer:
    """A server of the files in ``folder``, which is made for it. As root it
    runs as nobody, since it would change to a user of its own otherwise, which may be missing."""

    def __init__(self) -> None:
        # Not below pytest's folders: each session closes those to others, also while we run.
        folder = Path(tempfile.mkdtemp(prefix="sftp-"))
        self._temporary = folder
        self.folder, self._own = folder / "files", folder / "server"
        self.port, self.writes = free_port(), 0
        self._user = "nobody" if os.geteuid() == 0 else None
        for made in (folder, self._own, self.folder):
            made.mkdir(exist_ok=True)
            made.chmod(0o777)
        self._program, *library = sshd()
        if library:  # nobody may not read where they are kept
            self._program = shutil.copy(self._program, self._own)
            shutil.copy(library[0], self._own)
        self.key = self._keygen("client_key").read_text()
        shutil.copy(self._own / "client_key.pub", self._own / "authorized_keys")
        (self._own / "config").write_text(CONFIG.format(port=self.port, folder=self._own))
        self._process: subprocess.Popen[bytes] | None = None

    def _keygen(self, name: str) -> Path:
        key = self._own / name
        for file in (key, key.with_suffix(".pub")):
            file.unlink(missing_ok=True)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
        subprocess.run(command, check=True)
        if self._user:
            shutil.chown(key, self._user)
        return key

    def start(self) -> None:
        """Serve, with a new host key."""
        key = self._keygen("host_key")
        command = ["ssh-keygen", "-l", "-f", f"{key}.pub"]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        self.fingerprint = told.split()[1]
        config = str(self._own / "config")
        with (self._own / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-D", "-e", "-f", config],
                env={**os.environ, "LD_LIBRARY_PATH": str(self._own)},
                user=self._user,
                stderr=log,
            )
        deadline = time.monotonic() + 10
        while not _answers(self.port):
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, "sshd does not answer"
            time.sleep(0.02)

    def new_folder(self) -> Sftp:
        """A new, empty folder as a flow names it."""
        self.writes += 1
        folder = self.folder / f"f{self.writes}"
        folder.mkdir()
        folder.chmod(0o777)
        return replace(self.place(), folder=str(folder))

    def stop(self) -> None:
        """Serve no more."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def close(self) -> None:
        """Serve no more, and delete everything."""
        self.stop()
        shutil.rmtree(self._temporary)

    @property
    def log(self) -> str:
        """What the server has told."""
        return (self._own / "log").read_text()

    def place(self, host_key: str | None = None) -> Sftp:
        """The folder as a flow names it."""
        return Sftp(
            host="127.0.0.1",
            port=self.port,
            user=self._user or getpass.getuser(),
            folder=str(self.folder),
            key=self.key,
            host_key=self.fingerprint if host_key is None else host_key,
            timeout="5s",
        )


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
