"""Bad input for a gateway, of every kind, with the kind of problem that each is answered."""

from __future__ import annotations

import base64
import json
from typing import Any, TypedDict

from gateway_socket import PATH
from trunkline.schemas.types import avro_type

READY = "not-ready"
"""The kind of what is right, as far as a gateway without Kafka lets it."""


class Everything(TypedDict):
    id: str


def _field(name: str, type_: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, **more}


def _optional(name: str, type_: Any) -> dict[str, Any]:
    return _field(name, ["null", type_], default=None)


def _record(name: str, *fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields)}


LINE = _record("Line", _field("sku", "string"), _field("quantity", "int"))
PAID = [_record("Card", _field("number", "string")), _record("Cash", _field("till", "int"))]
avro_type(
    Everything,
    json.dumps(
        {
            **_record(
                "Everything",
                _field("id", "string"),
                _field("lines", {"type": "array", "items": LINE}, default=[]),
                _optional("state", {"type": "enum", "name": "State", "symbols": ["open", "shut"]}),
                _optional("cents", "long"),
                _optional("ratio", "double"),
                _optional("small", "float"),
                _optional("yes", "boolean"),
                _optional(
                    "price",
                    {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2},
                ),
                _optional("day", {"type": "int", "logicalType": "date"}),
                _optional("at", {"type": "long", "logicalType": "timestamp-millis"}),
                _optional("raw", "bytes"),
                _optional("four", {"type": "fixed", "name": "Four", "size": 4}),
                _optional("named", {"type": "map", "values": "int"}),
                _field("paid", ["null", *PAID], default=None),
                _optional("unique", {"type": "string", "logicalType": "uuid"}),
            ),
            "namespace": "tests",
        }
    ),
)


NO_JSON = {
    "empty": b"",
    "blank": b" \n ",
    "cut": b'{"id": "1"',
    "rest": b'{"id": "1"} x',
    "two": b'{"id": "1"}{"id": "2"}',
    "comma": b'{"id": "1",}',
    "comment": b'{"id": "1" /* one */}',
    "single quotes": b"{'id': '1'}",
    "a name twice": b'{"id": "1", "id": "2"}',
    "a name twice, escaped": b'{"id": "1", "\\u0069d": "2"}',
    "a name twice, deep": b'{"id": "1", "lines": [{"sku": "a", "sku": "b", "quantity": 1}]}',
    "NaN": b'{"id": "1", "ratio": NaN}',
    "Infinity": b'{"id": "1", "ratio": -Infinity}',
    "leading zero": b'{"id": "1", "ratio": 01}',
    "plus": b'{"id": "1", "ratio": +1}',
    "point": b'{"id": "1", "ratio": .5}',
    "hexadecimal": b'{"id": "1", "ratio": 0x1}',
    "5,000 digits": b'{"id": "1", "ratio": ' + b"9" * 5000 + b"}",
    "deep lists": b"[" * 50_000,
    "deep objects": b'{"a":' * 30_000,
    "a raw line end": b'{"id": "a\nb"}',
    "a raw NUL": b'{"id": "a\0b"}',
    "NUL alone": b"\0",
    "BOM": b"\xef\xbb\xbf{}",
    "UTF-16": '{"id": "1"}'.encode("utf-16"),
    "Latin-1": '{"id": "é"}'.encode("latin-1"),
    "overlong": b'{"id": "\xc0\xaf"}',
    "a surrogate's bytes": b'{"id": "\xed\xa0\x80"}',
    "a form": b"id=1",
    "XML": b"<id>1</id>",
}


LINES = "#/lines/0"
WRONG: dict[str, tuple[Any, set[str]]] = {
    "a list": ([], {"#"}),
    "null": (None, {"#"}),
    "a text": ("id", {"#"}),
    "a number": (1, {"#"}),
    "nothing": ({}, {"#/id"}),
    "unknown field": ({"id": "1", "idd": "2"}, {"#/idd"}),
    "unknown field with a slash": ({"id": "1", "a/b~c": 1}, {"#/a~1b~0c"}),
    "another type of record": ({"id": "1", "$type": "Other"}, {"#/$type"}),
    "number for a text": ({"id": 1}, {"#/id"}),
    "no entity": ({"id": ""}, {"#/id"}),
    "half a surrogate pair": ({"id": "\ud800"}, {"#/id"}),
    "half a surrogate pair in a name": ({"id": "1", "named": {"\udc00": 1}}, {"#/named/?"}),
    "deep": ({"id": "1", "lines": [{"sku": 1}]}, {f"{LINES}/sku", f"{LINES}/quantity"}),
    "object for a list": ({"id": "1", "lines": {}}, {"#/lines"}),
    "null for a list": ({"id": "1", "lines": None}, {"#/lines"}),
    "true for a number": (
        {"id": "1", "lines": [{"sku": "a", "quantity": True}]},
        {f"{LINES}/quantity"},
    ),
    "33 bits": ({"id": "1", "lines": [{"sku": "a", "quantity": 1 << 31}]}, {f"{LINES}/quantity"}),
    "a fraction": ({"id": "1", "lines": [{"sku": "a", "quantity": 1.0}]}, {f"{LINES}/quantity"}),
    "enum": ({"id": "1", "state": "ajar"}, {"#/state"}),
    "enum by number": ({"id": "1", "state": 0}, {"#/state"}),
    "long as a number": ({"id": "1", "cents": 5}, {"#/cents"}),
    "long with a point": ({"id": "1", "cents": "5.0"}, {"#/cents"}),
    "65 bits": ({"id": "1", "cents": str(1 << 63)}, {"#/cents"}),
    "other digits": ({"id": "1", "cents": "٣"}, {"#/cents"}),
    "a text for a double": ({"id": "1", "ratio": "1.5"}, {"#/ratio"}),
    "a rounded double": ({"id": "1", "ratio": (1 << 53) + 1}, {"#/ratio"}),
    "a huge float": ({"id": "1", "small": 1e39}, {"#/small"}),
    "1 for true": ({"id": "1", "yes": 1}, {"#/yes"}),
    "decimal as a number": ({"id": "1", "price": 1.5}, {"#/price"}),
    "decimal too fine": ({"id": "1", "price": "1.555"}, {"#/price"}),
    "decimal too large": ({"id": "1", "price": "12345.00"}, {"#/price"}),
    "decimal with an exponent": ({"id": "1", "price": "1e1"}, {"#/price"}),
    "no such day": ({"id": "1", "day": "2026-02-30"}, {"#/day"}),
    "day as a number": ({"id": "1", "day": 20000}, {"#/day"}),
    "moment without a zone": ({"id": "1", "at": "2026-11-29T14:03:00"}, {"#/at"}),
    "moment too fine": ({"id": "1", "at": "2026-11-29T14:03:00.0001Z"}, {"#/at"}),
    "no such hour": ({"id": "1", "at": "2026-11-29T25:03:00Z"}, {"#/at"}),
    "no base64": ({"id": "1", "raw": "ä"}, {"#/raw"}),
    "base64 without its end": ({"id": "1", "raw": "YQ"}, {"#/raw"}),
    "base64 of URLs": ({"id": "1", "raw": "_-8="}, {"#/raw"}),
    "five bytes": ({"id": "1", "four": base64.b64encode(b"12345").decode()}, {"#/four"}),
    "a wrong value of a map": ({"id": "1", "named": {"a/b": "1"}}, {"#/named/a~1b"}),
    "a union that says not which": ({"id": "1", "paid": {"number": "1"}}, {"#/paid/$type"}),
    "a union that says another": ({"id": "1", "paid": {"$type": "Cheque"}}, {"#/paid/$type"}),
    "a union as Avro tags it": ({"id": "1", "paid": {"Card": {"number": "1"}}}, {"#/paid/$type"}),
    "a union that says which": ({"id": "1", "paid": {"$type": "tests.Card"}}, {"#/paid/number"}),
    "no UUID": ({"id": "1", "unique": "6c1"}, {"#/unique"}),
    "several": ({"x": 1, "id": 1, "yes": "no", "day": ""}, {"#/x", "#/id", "#/yes", "#/day"}),
}


GOOD = b'{"id": "1"}'
HEADERS: dict[str, tuple[dict[str, str | None], str]] = {
    "all well": ({}, READY),
    "charset": ({"content_type": "application/json; charset=UTF-8"}, READY),
    "another charset": ({"content_type": "application/json;charset=latin-1"}, "not-json-type"),
    "another charset, quoted": (
        {"content_type": 'application/json; x=1; charset="utf-16"'},
        "not-json-type",
    ),
    "no type": ({"content_type": None}, "not-json-type"),
    "empty type": ({"content_type": ""}, "not-json-type"),
    "text": ({"content_type": "text/plain"}, "not-json-type"),
    "form": ({"content_type": "application/x-www-form-urlencoded"}, "not-json-type"),
    "parts": ({"content_type": "multipart/form-data; boundary=x"}, "not-json-type"),
    "type of a problem": ({"content_type": "application/problem+json"}, "not-json-type"),
    "gzip": ({"content_encoding": "gzip"}, "not-json-type"),
    "no key": ({"idempotency_key": None}, "idempotency-key-missing"),
    "empty key": ({"idempotency_key": ""}, "idempotency-key-wrong"),
    "empty key, quoted": ({"idempotency_key": '""'}, "idempotency-key-wrong"),
    "key with a space": ({"idempotency_key": "a b"}, "idempotency-key-wrong"),
    "long key": ({"idempotency_key": "k" * 256}, "idempotency-key-wrong"),
    "key of other letters": ({"idempotency_key": "é"}, "idempotency-key-wrong"),
    "two keys": ({"idempotency_key": "a\r\nIdempotency-Key: b"}, "idempotency-key-wrong"),
    "61 seconds": ({"prefer": "wait=61"}, "preference-wrong"),
    "61 seconds, second header": ({"prefer": "a\r\nPrefer: wait=61"}, "preference-wrong"),
    "no seconds": ({"prefer": "wait=soon, handling=odd, =, ,"}, READY),
    "a trace that is none": ({"traceparent": "00-zz"}, READY),
    "no authorization": ({"authorization": None}, "unauthorized"),
    "basic": ({"authorization": "Basic YTpi"}, "unauthorized"),
    "bearer of nothing": ({"authorization": "Bearer "}, "unauthorized"),
    "bearer of other letters": ({"authorization": "Bearer tlk_é_ü_ö"}, "unauthorized"),
    "bearer of a broken token": ({"authorization": "Bearer a.b.c"}, "unauthorized"),
    "bearer of other letters' token": ({"authorization": "Bearer é.é.é"}, "unauthorized"),
    "no host": ({"host": None}, "not-http"),
    "two hosts": ({"host": "x\r\nHost: y"}, "not-http"),
    "a header that goes on": ({"x": "a\r\n b"}, READY),
    "a header of 20 KB": ({"x": "y" * 20_000}, "head-too-large"),
    "10,000 headers": ({"x": "y" + "\r\nx: y" * 10_000}, "head-too-large"),
    "a header without a name": ({"x": "y\r\n: z"}, "not-http"),
    "a header with a space": ({"x": "y\r\nz : z"}, "not-http"),
    "a header without a colon": ({"x": "y\r\nz"}, "not-http"),
    "a NUL in a header": ({"x": "a\0b"}, "not-http"),
    "a CR in a header": ({"x": "a\rb"}, "not-http"),
    "no length": ({"content_length": "x"}, "not-http"),
    "a length below nothing": ({"content_length": "-1"}, "not-http"),
    "a signed length": ({"content_length": "+11"}, "not-http"),
    "a length of other digits": ({"content_length": "²"}, "not-http"),
    "two lengths": ({"content_length": "11\r\nContent-Length: 12"}, "not-http"),
    "two lengths in one": ({"content_length": "11, 12"}, "not-http"),
    "a length beyond all": ({"content_length": "9" * 19}, "body-too-large"),
    "less than its length": ({"content_length": "12"}, "body-too-slow"),
    "an upgrade": ({"connection": "Upgrade", "upgrade": "websocket"}, READY),
    "HTTP/2": ({"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c"}, READY),
}


CHUNKED: dict[str, tuple[dict[str, str | None], bytes, str, int | None]] = {
    "well": ({}, b"b\r\n" + GOOD + b"\r\n0\r\n\r\n", READY, None),
    "trailers": ({}, b"b\r\n" + GOOD + b"\r\n0\r\nX: y\r\n\r\n", READY, None),
    "no size": ({}, b"x\r\n", "not-http", None),
    "a size below nothing": ({}, b"-1\r\n", "not-http", None),
    "a size beyond all": ({}, b"f" * 30 + b"\r\n", "not-http", None),
    "a size in other digits": ({}, b"0xb\r\n" + GOOD + b"\r\n0\r\n\r\n", "not-http", None),
    "longer than its size": ({}, b"2\r\n" + GOOD + b"\r\n0\r\n\r\n", "not-http", None),
    "without an end": ({}, b"b\r\n" + GOOD + b"\r\n", "body-too-slow", None),
    "a length, too": (
        {"content_length": "4"},
        b"b\r\n" + GOOD + b"\r\n0\r\n\r\n",
        "not-http",
        None,
    ),
    "a coding nobody knows": ({"transfer_encoding": "gzip"}, b"", "not-http", 501),
    "two codings": ({"transfer_encoding": "gzip, chunked"}, b"", "not-http", 501),
    "chunked twice": (
        {"transfer_encoding": "chunked\r\nTransfer-Encoding: chunked"},
        b"",
        "not-http",
        501,
    ),
    "hidden by a character": ({"transfer_encoding": "\x0bchunked"}, b"", "not-http", None),
    "hidden by quotes": ({"transfer_encoding": '"chunked"'}, b"", "not-http", 501),
}


CODED = PATH.replace("/correct", "%2Fcorrect")
LINES_OF_REQUESTS: dict[str, tuple[str, str, str, int | None]] = {
    "unknown path": ("GET", "GET /v2 HTTP/1.1", "not-found", None),
    "root": ("GET", "GET / HTTP/1.1", "not-found", None),
    "dots": ("GET", "GET /v1/../healthz HTTP/1.1", "not-found", None),
    "dots in code": ("GET", "GET /v1/%2e%2e/healthz HTTP/1.1", "not-found", None),
    "two slashes": ("GET", "GET //healthz HTTP/1.1", "not-found", None),
    "a slash too many": ("POST", f"POST {PATH}/ HTTP/1.1", "not-found", None),
    "a slash in code": ("POST", f"POST {CODED} HTTP/1.1", READY, None),
    "NUL in code": ("POST", f"POST {PATH}%00 HTTP/1.1", "not-found", None),
    "no UTF-8 in code": ("POST", f"POST {PATH}%ff HTTP/1.1", "not-found", None),
    "half a code": ("POST", f"POST {PATH}%2 HTTP/1.1", "not-found", None),
    "a long path": ("GET", f"GET /{'x' * 10_000} HTTP/1.1", "not-found", None),
    "a longer path": ("GET", f"GET /v1/calls/{'x' * 20_000} HTTP/1.1", "head-too-large", None),
    "a call that is none": ("GET", "GET /v1/calls/%0d%0aX:y HTTP/1.1", "not-found", None),
    "no such problem": ("GET", "GET /problems/%3Cscript%3E HTTP/1.1", "not-found", None),
    "another method": ("GET", f"GET {PATH} HTTP/1.1", "method-not-allowed", None),
    "a method of its own": ("POST", f"BREW {PATH} HTTP/1.1", "method-not-allowed", None),
    "TRACE": ("POST", f"TRACE {PATH} HTTP/1.1", "method-not-allowed", None),
    "OPTIONS": ("POST", f"OPTIONS {PATH} HTTP/1.1", "method-not-allowed", None),
    "OPTIONS of all": ("POST", "OPTIONS * HTTP/1.1", "not-found", None),
    "a method in small letters": ("POST", f"post {PATH} HTTP/1.1", "method-not-allowed", None),
    "a wrong right": ("POST", f"POST {PATH}?validate_only=yes HTTP/1.1", "not-acceptable", None),
    "no method": ("POST", f"{PATH} HTTP/1.1", "not-http", None),
    "no version": ("POST", f"POST {PATH}", "not-http", None),
    "HTTP/2.0": ("POST", f"POST {PATH} HTTP/2.0", "not-http", 505),
    "a space in the path": ("POST", f"POST {PATH} x HTTP/1.1", "not-http", None),
    "raw letters in the path": ("POST", f"POST {PATH}é HTTP/1.1", "not-http", None),
    "HTTP/2": ("POST", "PRI * HTTP/2.0", "not-http", 505),
    "HTTP/1.0": ("POST", f"POST {PATH} HTTP/1.0", READY, None),
}


NO_HTTP = {
    "HTTP/0.9": b"GET /\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + b"\0" * 190,
    "SSH": b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
    "JSON": b'{"id": "1"}\r\n\r\n',
    "NULs": b"\0" * 100 + b"\r\n\r\n",
}
