"""OpenAPI documents that are small and awkward: what each is about, what of it is imported, and why
the rest is not, with the line. Real ones: ``openapi_vendors``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Case:
    """A document. ``names``: of what is imported; ``refused``: reasons by lines of what is not;
    ``good`` and ``bad``: requests of the first operation that it takes, and that it does not."""

    about: str
    text: str
    names: tuple[str, ...] = ("op",)
    refused: dict[int, str] = field(default_factory=dict)
    good: tuple[Any, ...] = ()
    bad: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return self.about


def body(about: str, schema: str, good: tuple[Any, ...], bad: tuple[Any, ...], **more: Any) -> Case:
    """A document with one operation, whose body has this schema, in YAML's flow form; line 11."""
    version, components = more.pop("version", "3.1.0"), more.pop("components", "{}")
    text = f"""openapi: {version}
info: {{title: t, version: '1'}}
paths:
  /things:
    post:
      operationId: op
      requestBody:
        required: true
        content:
          application/json:
            schema: {schema}
      responses: {{'200': {{description: done}}}}
components: {{schemas: {components}}}
"""
    wrap = [tuple({"body": one} for one in ones) for ones in (good, bad)]
    return Case(about, text, good=wrap[0], bad=wrap[1], **more)


def parameters(about: str, path: str, said: str, **more: Any) -> Case:
    """A document with one operation that has these parameters; its operation is in line 5."""
    text = f"""openapi: 3.0.3
info: {{title: t, version: '1'}}
paths:
  {path}:
    get:
      operationId: op
      parameters: {said}
      responses: {{'200': {{description: done}}}}
"""
    return Case(about, text, **more)


def refused(about: str, schema: str, reason: str, **more: Any) -> Case:
    """A body that cannot be used, beside an operation that can."""
    line = more.pop("line", 11)
    made = body(about, schema, (), (), **more)
    other = "  /fine:\n    get: {operationId: fine, responses: {}}\ncomponents:"
    text = made.text.replace("components:", other)
    return Case(about, text, ("fine",), {line: reason})


SHARED = "{Name: {type: string, maxLength: 3}, Loop: {$ref: '#/components/schemas/Loop'}}"
NODE = (
    "{Node: {type: object, required: [id], additionalProperties: false, properties: "
    "{id: {type: string}, next: {$ref: '#/components/schemas/Node'}}}}"
)
PETS = (
    "{Pet: {oneOf: [{$ref: '#/components/schemas/Cat'}, {$ref: '#/components/schemas/Dog'}], "
    "discriminator: {propertyName: kind, mapping: {cat: '#/components/schemas/Cat'}}}, "
    "Cat: {type: object, required: [kind], properties: {kind: {const: cat}}}, "
    "Dog: {type: object, required: [kind, bark], "
    "properties: {kind: {const: dog}, bark: {type: boolean}}}}"
)

CASES = [
    body("type lists", "{type: [string, 'null']}", ("a", None), (1,)),
    body("unquoted null", "{type: [string, null]}", ("a", None), (1,)),
    body("3.1.1", "{type: integer}", (1, 10**30), (1.5, "1"), version="3.1.1"),
    body("a version that is a number", "{type: integer}", (1,), ("1",), version="3.1"),
    body("3.0.0", "{type: integer}", (1,), ("1",), version="3.0.0"),
    body("const", "{const: {a: 1}}", ({"a": 1},), ({"a": 2},)),
    body("exclusiveMinimum: 0", "{type: number, exclusiveMinimum: 0}", (0.1,), (0, -1)),
    body(
        "exclusiveMinimum: true",
        "{type: number, minimum: 0, exclusiveMinimum: true}",
        (0.1,),
        (0,),
        version="3.0.3",
    ),
    body(
        "a number there in 3.0", "{type: number, exclusiveMinimum: 0}", (1,), (0,), version="3.0.3"
    ),
    body("nullable", "{type: string, nullable: true}", (None, "a"), (1,), version="3.0.3"),
    body(
        "nullable with an enum",
        "{type: string, nullable: true, enum: [no, on]}",
        (None, "no"),
        ("yes", False),
        version="3.0.3",
    ),
    body(
        "nullable with a reference",
        "{nullable: true, allOf: [{$ref: '#/components/schemas/Name'}]}",
        (None, "abc"),
        ("abcd",),
        version="3.0.3",
        components=SHARED,
    ),
    body(
        "siblings of $ref count in 3.1",
        "{$ref: '#/components/schemas/Name', minLength: 2}",
        ("ab",),
        ("a", "abcd"),
        components=SHARED,
    ),
    body(
        "and not in 3.0",
        "{$ref: '#/components/schemas/Name', minLength: 2}",
        ("a",),
        ("abcd",),
        version="3.0.3",
        components=SHARED,
    ),
    body(
        "recursive",
        "{$ref: '#/components/schemas/Node'}",
        ({"id": "a", "next": {"id": "b"}},),
        ({"id": "a", "next": {"id": 1}}, {"id": "a", "next": {"id": "b", "x": 1}}),
        components=NODE,
    ),
    body(
        "discriminator",
        "{$ref: '#/components/schemas/Pet'}",
        ({"kind": "cat"}, {"kind": "dog", "bark": True}),
        ({"kind": "dog"}, {"kind": "cow"}),
        components=PETS,
    ),
    body(
        "what only the system writes",
        "{type: object, required: [id, name], "
        "properties: {id: {type: string, readOnly: true}, name: {type: string}}}",
        ({"name": "a"},),
        ({"id": "a"},),
    ),
    body("a schema that is true", "true", (None, [1]), ()),
    body("a pattern that could take years", "{type: string, pattern: '^(a+)+$'}", ("aa",), ("b",)),
    body(
        "tuples", "{type: array, prefixItems: [{type: integer}], items: false}", ([1],), ([1, 2],)
    ),
    body(
        "a name with a slash",
        "{$ref: '#/components/schemas/a~1b'}",
        (1,),
        ("1",),
        components="{a/b: {type: integer}}",
    ),
    refused("a type that is none", "{type: strng}", "'strng' is no type"),
    refused("required as in draft 3", "{properties: {a: {required: true}}}", "required is a list"),
    refused("a reference to nowhere", "{$ref: '#/components/schemas/No'}", "leads nowhere"),
    refused("another document", "{$ref: 'http://127.0.0.1:1/x.yaml#/A'}", "is another document"),
    refused("a file", "{$ref: '../../../etc/passwd'}", "is another document"),
    refused("an anchor", "{$ref: '#name'}", "is an anchor"),
    refused("a dynamic reference", "{$dynamicRef: '#n'}", "$dynamicRef is not supported"),
    refused("a pattern that is none", "{type: string, pattern: '('}", "its pattern"),
    refused(
        "a loop without an end",
        "{$ref: '#/components/schemas/Loop'}",
        "has no end",
        components=SHARED,
        line=15,
    ),
    refused(
        "a loop in place",
        "{allOf: [{$ref: '#/components/schemas/L'}]}",
        "has no end",
        components="{L: {anyOf: [{type: string}, {$ref: '#/components/schemas/L'}]}}",
        line=15,
    ),
    refused("a text that is no schema", "just a text", "a schema is an object"),
    parameters(
        "styles",
        "'/a/{id}'",
        "[{name: id, in: path, required: true, schema: {type: string}}, "
        "{name: f, in: query, style: deepObject, schema: {type: object}}]",
        good=({"id": "x", "f": {"a": 1}},),
        bad=({}, {"id": ""}, {"id": ".."}, {"id": 1}),
    ),
    parameters(
        "a cookie that must be",
        "/a",
        "[{name: c, in: cookie, required: true}]",
        names=(),
        refused={7: "is in 'cookie'"},
    ),
    parameters("a cookie that need not be", "/a", "[{name: c, in: cookie}]", good=({},)),
    parameters(
        "a matrix",
        "'/a/{id}'",
        "[{name: id, in: path, style: matrix, required: true}]",
        names=(),
        refused={7: "has the style 'matrix'"},
    ),
    parameters(
        "a path that says more", "'/a/{id}'", "[]", names=(), refused={5: "{id} of its path"}
    ),
    parameters(
        "two of one name",
        "'/a/{id}'",
        "[{name: id, in: path, required: true}, {name: id, in: query}]",
        good=({"id": "1", "query_id": "2"},),
    ),
    Case("webhooks only", json.dumps({"openapi": "3.1.0", "info": {}, "webhooks": {"a": {}}}), ()),
    Case("nothing at all", "openapi: 3.1.0\n", ()),
    Case(
        "names that stand twice, and none",
        json.dumps(
            {
                "openapi": "3.0.1",
                "paths": {
                    "/a": {"get": {"operationId": "x/y"}, "put": {"operationId": "x-y"}},
                    "/b/c": {"get": {}, "head": {}, "delete": None},
                    "/d": None,
                },
            },
            indent=1,
        ),
        ("x_y", "x_y_2", "get_b_c"),
        {
            14: "HEAD has no answer's body",
            15: "an operation is an object",
            17: "a path is an object",
        },
    ),
]
"""Documents that can be read."""

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n"
    for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
NOT_READ = {
    "an alias bomb": (BOMB, "values"),
    "an alias of itself": ("openapi: &a\n  x: *a\n", "line 2: the alias *a refers to itself"),
    "an alias of nothing": ("openapi: *a\n", "line 1"),
    "deep YAML": ("openapi: " + "[" * 5_000, "nesting depth"),
    "deep JSON": ('{"openapi": ' + "[" * 50_000 + "]" * 50_000 + "}", "deep"),
    "a little too deep": ('{"a": ' + "[" * 120 + "]" * 120 + "}", "deep"),
    "Swagger 2.0": ("swagger: '2.0'\n", "Swagger 2.0: convert it"),
    "another version": ("openapi: 4.0.0\n", "'4.0.0'"),
    "no document": ("[1]", "no object"),
    "nothing": ("", "no object"),
    "broken JSON": ('{"openapi": "3.1.0",\n "paths": {,}}', "line 2, column 12"),
    "broken YAML": ("openapi: 3.1.0\npaths: {\n", "line 3"),
    "two documents": ("openapi: 3.1.0\n---\nopenapi: 3.1.0\n", "several"),
    "no UTF-8": (b"openapi: 3.1.0\n\xff", "line 2: it is not UTF-8"),
    "not a number": ('{"openapi": NaN}', "NaN"),
}
"""Documents that cannot be read, and what is said of each."""
