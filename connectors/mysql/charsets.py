"""Text of MySQL's character sets as Python's.

Both the log and the snapshot hand over bytes as they are stored, in the column's character set.
"""

from __future__ import annotations

from collections.abc import Callable

from trunkline.connectors.mysql.session import Session
from trunkline.errors import SourceError

Decode = Callable[[bytes], str | bytes]

BINARY = "binary"

# Names that Python has another name for. ``latin1`` is cp1252 with the five codes that cp1252
# leaves out; ucs2 has no surrogates, which utf-16 reads the same.
_CODECS = {
    "utf8": "utf-8",
    "utf8mb3": "utf-8",
    "utf8mb4": "utf-8",
    "ascii": "ascii",
    "ucs2": "utf-16-be",
    "utf16": "utf-16-be",
    "utf16le": "utf-16-le",
    "utf32": "utf-32-be",
    "latin2": "iso8859-2",
    "latin5": "iso8859-9",
    "latin7": "iso8859-13",
    "greek": "iso8859-7",
    "hebrew": "iso8859-8",
    "koi8r": "koi8-r",
    "koi8u": "koi8-u",
    "cp850": "cp850",
    "cp852": "cp852",
    "cp866": "cp866",
    "cp1250": "cp1250",
    "cp1251": "cp1251",
    "cp1256": "cp1256",
    "cp1257": "cp1257",
    "cp932": "cp932",
    "sjis": "shift_jis",
    "ujis": "euc_jp",
    "euckr": "euc_kr",
    "gb2312": "gb2312",
    "gbk": "gbk",
    "gb18030": "gb18030",
    "big5": "big5",
    "tis620": "tis-620",
    "macce": "mac_latin2",
    "macroman": "mac_roman",
}


def decoder(charset: str) -> Decode | None:
    """How to read text of this character set; None if nobody here knows.

    What is no text of the character set stays the bytes that it is, which no field for text
    accepts: a dead letter rather than a guess.
    """
    if charset == BINARY:
        return bytes
    if charset == "latin1":
        return _latin1
    codec = _CODECS.get(charset)
    if codec is None:
        return None
    if codec == "utf-8":
        return _utf8

    def decode(text: bytes) -> str | bytes:
        try:
            return text.decode(codec)
        except UnicodeDecodeError:
            return text

    return decode


def _utf8(text: bytes) -> str | bytes:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text


def _latin1(text: bytes) -> str:
    try:
        return text.decode("cp1252")
    except UnicodeDecodeError:  # 81, 8D, 8F, 90 or 9D, which MySQL takes for these code points
        return "".join(_LATIN1[code] for code in text)


_LATIN1 = [bytes((code,)).decode("cp1252", "replace") for code in range(256)]
for _code in (0x81, 0x8D, 0x8F, 0x90, 0x9D):
    _LATIN1[_code] = chr(_code)


def collations(session: Session) -> dict[int, str]:
    """The character set of each collation, by the number that the log has."""
    found = session.rows(
        "SELECT id, character_set_name FROM information_schema.collations "
        "WHERE id IS NOT NULL AND character_set_name IS NOT NULL"
    )
    try:  # MariaDB: a collation of several character sets has a number for each
        found += session.rows(
            "SELECT id, character_set_name "
            "FROM information_schema.collation_character_set_applicability"
        )
    except SourceError as error:
        if error.__cause__ is None or error.__cause__.args[0] != _BAD_FIELD:
            raise
    return {int(number): str(charset) for number, charset in found}


_BAD_FIELD = 1054
"""MySQL's table has no numbers: those of its collations are all in the other one."""
