"""Files as a source and as a sink.

FileSource: files that arrive in a folder, each content of them once, row by row.

In come files; out go records with positions. ``source`` is the connector, called in the source's
own thread: it asks a ``Place``, which is a ``folder`` or a ``remote`` one, which files there are
and have settled, and ``memory`` which contents were read before. ``places`` are what a flow names,
``stores`` finds the store for each: ``sftp``, ``s3``, which run their clients by ``calls``.
``reading`` tells whether a file is still what it was; ``lines`` bounds what a line may be, and
``formats`` makes rows of lines, ``avro``, ``xml_rows`` and ``parquet_rows`` of other files,
``again`` of a dead letter's bytes.

FileSink: events in files. ``sink`` is the connector, ``written_forms`` and ``parquet_form`` are
what files are made of, ``write_log`` knows which events are in them, and ``objects`` and
``s3_objects`` are where they are made.
"""

from trunkline.connectors.files.avro import Avro
from trunkline.connectors.files.formats import Csv, FileFormat, FixedWidth, JsonLines
from trunkline.connectors.files.parquet import Parquet
from trunkline.connectors.files.places import S3, Sftp
from trunkline.connectors.files.sink import FileSink
from trunkline.connectors.files.source import FileSource
from trunkline.connectors.files.xml_rows import Xml

__all__ = [
    "S3",
    "Avro",
    "Csv",
    "FileFormat",
    "FileSink",
    "FileSource",
    "FixedWidth",
    "JsonLines",
    "Parquet",
    "Sftp",
    "Xml",
]
