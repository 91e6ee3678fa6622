"""Parquet as a format of FileSource: what a flow says of it. ``parquet_rows`` reads the files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar

from trunkline.connectors.files.formats import Row
from trunkline.connectors.files.lines import Lines
from trunkline.errors import MissingExtra


@dataclass(frozen=True, slots=True, kw_only=True)
class Parquet:
    """Apache Parquet. Needs the extra ``parquet``.

    Values are as the file's schema says: whole numbers, ``Decimal``, ``datetime`` (with a zone: in
    UTC), ``date``, ``time``, bytes, lists, structures and maps as dicts. ``cut_times``: times that
    are finer than a microsecond, which Python's are not, lose what is finer; else such a row is
    bad. The place of a row is its number in the file.

    A row group is read page by page. One that cannot be read on takes its rest with it: that is one
    bad row. Raises MissingExtra without pyarrow.
    """

    by_lines: ClassVar[bool] = False
    cut_times: bool = False

    def __post_init__(self) -> None:
        if find_spec("pyarrow") is None:
            raise MissingExtra("Parquet", "parquet")

    def rows(self, lines: Lines, needed: Sequence[str]) -> Iterator[Row]:
        """See FileFormat. A restart decodes what its row group has before, and gives none of it."""
        # Imported here: pyarrow is an extra.
        from trunkline.connectors.files.parquet_rows import rows_of

        return rows_of(lines, needed, cut_times=self.cut_times)
