"""Which store it is that a flow names."""

from __future__ import annotations

import os
from pathlib import Path

from trunkline.connectors.files.folder import Folder, Place, Wanted
from trunkline.connectors.files.places import S3, Sftp
from trunkline.connectors.files.remote import RemoteFolder


def place_of(folder: str | os.PathLike[str] | Sftp | S3, wanted: Wanted) -> Place:
    """The place that a flow names. Connects to nothing."""
    # Imported here: their clients are extras.
    if isinstance(folder, Sftp):
        from trunkline.connectors.files.sftp import SftpStore

        return RemoteFolder(SftpStore(folder), wanted)
    if isinstance(folder, S3):
        from trunkline.connectors.files.s3 import S3Store

        return RemoteFolder(S3Store(folder), wanted)
    return Folder(Path(folder), wanted)
