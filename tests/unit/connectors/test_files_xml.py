"""XML files: rows by a path, in bounded memory, whatever is in them."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from files_kit import bad, batches, records, rows, source_of
from trunkline.connectors.files import Xml
from trunkline.errors import ConfigurationError, DataError

ORDERS = b"""<?xml version="1.0" encoding="ISO-8859-1"?>
<s:orders xmlns:s="urn:shop"><title>Forl\xec</title>
  <s:order id="1" s:paid="yes"><city> Forl\xec </city><note/><line><sku>a</sku></line></s:order>
  <s:order id="2"><city>Rom</city>text<line>x</line><line q="2">y</line></s:order>
  <other><order id="3"/></other>
</s:orders>
"""


def read(folder: Path, content: bytes, **more: Any) -> list[Any]:
    (folder / "a.xml").write_bytes(content)
    given = {"format": Xml(record="/orders/order"), "key": "@id", "pattern": "*.xml", **more}
    return batches(source_of(folder, **given))


def test_elements_at_the_path_are_rows(tmp_path: Path) -> None:
    found = records(read(tmp_path, ORDERS))
    assert [record.data for record in found] == [
        {"@id": "1", "@paid": "yes", "city": "Forlì", "note": "", "line": {"sku": "a"}},
        {"@id": "2", "city": "Rom", "line": ["x", {"@q": "2", "#text": "y"}], "#text": "text"},
    ]
    assert [record.place for record in found] == ["a.xml:1", "a.xml:2"]


def test_lists_are_lists_also_of_one_and_of_none(tmp_path: Path) -> None:
    form = Xml(record="/orders/order", lists=("line", "tag"))
    first, second = (record.data for record in records(read(tmp_path, ORDERS, format=form)))
    assert (first["line"], first["tag"], len(second["line"])) == ([{"sku": "a"}], [], 2)


def many(number: int) -> bytes:
    return b"<orders>" + b"".join(b'<order id="%d"/>' % n for n in range(number)) + b"</orders>"


def test_a_restart_goes_on_behind_what_it_has_given(tmp_path: Path) -> None:
    given = read(tmp_path, many(25), batch=10)
    assert rows(given) == [str(n) for n in range(25)]
    form = Xml(record="/orders/order")
    source = source_of(tmp_path, format=form, key="@id", pattern="*.xml", batch=10)
    again = batches(source, given[0].position)
    assert records(again) == records(given)[10:]


def test_an_element_without_the_key_is_bad_alone(tmp_path: Path) -> None:
    content = b'<orders><order id="1"/><order nr="2"/><order id="3"/></orders>'
    given = read(tmp_path, content)
    assert rows(given) == ["1", "3"]
    assert [(place, error) for place, error, _ in bad(given)] == [
        ("a.xml:2", "the element lacks @id")
    ]


def test_what_is_no_xml_ends_the_file_and_is_told(tmp_path: Path) -> None:
    given = read(tmp_path, many(3)[:-9] + b"<oops></orders>")
    assert rows(given) == ["0", "1", "2"]
    ((place, error, _),) = bad(given)
    assert (place, "mismatched tag in line 1" in error) == ("a.xml:4", True)


BOMB = b"""<!DOCTYPE o [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<orders><order id="&b;"/></orders>"""
OUTSIDE = b"""<!DOCTYPE o [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<orders><order id="1">&x;</order></orders>"""


@pytest.mark.parametrize("content", [BOMB, OUTSIDE])
def test_entities_are_refused(tmp_path: Path, content: bytes) -> None:
    given = read(tmp_path, content)
    assert rows(given) == []
    assert [error for _, error, _ in bad(given)] == [
        "the file declares entities, which are not read: they could be of any size"
    ]


def test_a_document_type_without_entities_is_none_of_our_business(tmp_path: Path) -> None:
    assert rows(read(tmp_path, b"<!DOCTYPE orders>" + many(2))) == ["0", "1"]


@pytest.mark.parametrize(
    "long",
    [
        b'<order id="1"><a>' + b"x" * 5000 + b"</a></order>",
        b"<order>" + b"<a/>" * 2500 + b"</order>",
    ],
)
def test_an_element_that_is_too_long_is_bad_and_cut(tmp_path: Path, long: bytes) -> None:
    content = b"<orders>" + long + b'<order id="2"/></orders>'
    given = read(tmp_path, content, max_row=2000)
    assert rows(given) == ["2"]
    ((_, error, raw),) = bad(given)
    assert (error, len(raw)) == ("the element has more than 2000 characters", 2000)


def test_depth_is_bounded(tmp_path: Path) -> None:
    given = read(tmp_path, b'<orders><order id="1"/>' + b"<a>" * 1000 + b"</a>" * 1000)
    assert rows(given) == ["1"]
    assert [error for _, error, _ in bad(given)] == [
        "elements are in each other to more than 200 levels"
    ]


def test_memory_is_flat_whatever_the_file(tmp_path: Path) -> None:
    """A tag without an end, and a text outside of rows, of 40 MB each."""
    for content in (b"<orders><order id='" + b"x" * 40_000_000, b"<orders>" + b"x" * 40_000_000):
        (tmp_path / "a.xml").write_bytes(content)
        del content
        form = Xml(record="/orders/order")
        source = source_of(tmp_path, format=form, key="@id", pattern="*.xml", max_row=10_000)
        tracemalloc.start()
        assert len(bad(batches(source))) == 1
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10_000_000


def test_a_dead_letter_is_read_again_by_itself(tmp_path: Path) -> None:
    (record,) = records(read(tmp_path, b'<orders><order nr="2"><a>x</a></order></orders>'))
    assert record.unreadable is not None
    form = Xml(record="/orders/order")
    again = source_of(tmp_path, format=form, key="@nr")
    with pytest.raises(DataError, match="lacks @id"):
        source_of(tmp_path, format=form, key="@id").read_again(record)
    made = again.read_again(record)
    assert (made.key, made.data, made.id) == ("2", {"@nr": "2", "a": "x"}, record.id)


@pytest.mark.parametrize(
    "element",
    [
        b'<order nr="2"/>',
        b'<order nr="a>b/"/>',
        b'<order nr="2"></order\n >',
        b'<order nr="2"><order nr="3"/></order>',
        b'<order nr="2"><a>x</a><b/></order>',
        b'<s:order nr="2"><a>></a></s:order>',
    ],
)
def test_a_dead_letter_has_its_element_and_no_more(tmp_path: Path, element: bytes) -> None:
    (record,) = records(read(tmp_path, b"<orders>" + element + b"</orders>"))
    assert record.unreadable is not None
    assert record.unreadable.raw == element
    mended = source_of(tmp_path, format=Xml(record="/orders/order"), key="@nr")
    assert mended.read_again(record).data


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_row_of_utf_16_is_read_again_as_its_fields(tmp_path: Path, encoding: str) -> None:
    text = '<orders><order nr="2"><a>\u20ac</a></order></orders>'
    mark = "\ufeff" if encoding != "utf-16" else ""
    (record,) = records(read(tmp_path, (mark + text).encode(encoding)))
    form = Xml(record="/orders/order")
    with pytest.raises(DataError, match="lacks @id"):
        source_of(tmp_path, format=form, key="@id").read_again(record)
    made = source_of(tmp_path, format=form, key="@nr").read_again(record)
    assert (made.key, made.data, made.id) == ("2", {"@nr": "2", "a": "\u20ac"}, record.id)


def test_attributes_of_one_name_in_two_namespaces_are_two(tmp_path: Path) -> None:
    """Where the prefix tells them apart; else it is left out, as of elements."""
    given = read(
        tmp_path,
        b'<orders xmlns:a="urn:a" xmlns:b="urn:b"><order id="1" a:id="2" b:id="3" a:nr="4"/>'
        b'<order a:id="5"/></orders>',
    )
    assert [record.data for record in records(given)] == [
        {"@id": "1", "@a:id": "2", "@b:id": "3", "@nr": "4"},
        {"@id": "5"},
    ]


@pytest.mark.parametrize("encoding", ["no-such", "hex", "shift_jis"])
def test_an_encoding_that_is_not_read_is_a_dead_letter_and_stops_nothing(
    tmp_path: Path, encoding: str
) -> None:
    (tmp_path / "b.xml").write_bytes(many(1))
    given = read(tmp_path, f'<?xml version="1.0" encoding="{encoding}"?><orders/>'.encode())
    assert rows(given) == ["0"]
    ((place, error, _),) = bad(given)
    assert (place, "encoding is not read" in error) == ("a.xml", True)
    with pytest.raises(ConfigurationError, match="encoding="):
        Xml(record="/orders/order", encoding=encoding)


def test_values_that_a_file_declares_for_attributes_are_bounded(tmp_path: Path) -> None:
    """Each of a million elements of four bytes would have them."""
    declared = b'<!DOCTYPE o [<!ATTLIST order v CDATA "%s">]>'
    assert rows(read(tmp_path, declared % b"x" + many(2))) == ["0", "1"]
    (tmp_path / "a.xml").unlink()
    given = read(tmp_path, declared % (b"x" * 2_000) + many(2))
    assert [error for _, error, _ in bad(given)] == [
        "the file declares long values of attributes, which are not read"
    ]


@pytest.mark.parametrize("record", ["", "order", "/", "/a//b", "/a/"])
def test_what_is_no_path_is_refused(record: str) -> None:
    with pytest.raises(ConfigurationError, match="no path"):
        Xml(record=record)
