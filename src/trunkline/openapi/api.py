"""What a document offers: the operations that can be imported, and those that cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trunkline.openapi.document import Document, Unusable
from trunkline.openapi.naming import argument_names, identifier
from trunkline.openapi.parameters import Parameter, parameters_of
from trunkline.openapi.reading import Pointer, read_document
from trunkline.openapi.schemas import Schemas

METHODS = ("get", "put", "post", "delete", "patch", "options", "head", "trace")
_NEVER = {
    "options": "OPTIONS asks what may be asked",
    "head": "HEAD has no answer's body",
    "trace": "TRACE is for the way, not for the system",
}
_SAFETY = {"get": "safe", "put": "idempotent", "delete": "idempotent"}
BODY = "body"
"""The name of the request's member that is the body."""


@dataclass(frozen=True, slots=True)
class ApiOperation:
    """An operation that can be imported. ``id``: as the document names it; ``name``: a Python name
    for it, no other's in this document; ``arguments``: the parameters by the names that callers
    use; ``body``: its schema, None for none, and ``media`` its type; ``replies``: schemas by
    status, None where it is no JSON or cannot be described; ``refers``: the names of schemas that
    the request needs, ``reply_refers`` likewise; ``notes``: what of it is left out, and why."""

    id: str
    name: str
    method: str
    path: str
    at: Pointer
    summary: str = ""
    description: str = ""
    tag: str = ""
    deprecated: bool = False
    arguments: Mapping[str, Parameter] = field(default_factory=dict)
    body: Any = None
    media: str = ""
    body_required: bool = False
    replies: Mapping[str, Any] = field(default_factory=dict)
    refers: frozenset[str] = frozenset()
    reply_refers: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    @property
    def safety(self) -> str:
        """``safe``: it changes nothing; ``idempotent``: two are as good as one; ``unsafe``."""
        return _SAFETY.get(self.method, "unsafe")

    @property
    def request(self) -> dict[str, Any]:
        """The schema of the request: an object of the parameters and the body."""
        properties = {name: one.schema for name, one in self.arguments.items()}
        required = [name for name, one in self.arguments.items() if one.required]
        if self.body is not None:
            properties[BODY] = self.body
            required += [BODY] if self.body_required else []
        made: dict[str, Any] = {"type": "object", "properties": properties}
        return made | {"required": required, "additionalProperties": False}


@dataclass(frozen=True, slots=True)
class Unsupported:
    """An operation that cannot be imported. ``line``: of what ``reason`` is about."""

    id: str
    method: str
    path: str
    reason: str
    line: int


class Api:
    """A document's operations. Whatever is wrong with one of them, the others are there."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.schemas = Schemas(document)
        self.operations: list[ApiOperation] = []
        self.unsupported: list[Unsupported] = []
        self.moved: dict[str, dict[str, Any]] = {}
        """Definitions whose references have a prefix, by that and by their names."""
        self._names: set[str] = set()
        problems: list[tuple[str, str, str, Unusable]] = []
        for path, method, said, at in self._places(problems):
            try:
                self.operations.append(self._operation(path, method, said, at))
            except Unusable as problem:
                problems.append((_id(said, method, path), method, path, problem))
        places = {problem.at for *_, problem in problems} | {one.at for one in self.operations}
        self._lines = document.text.lines(places)
        self.unsupported = [
            Unsupported(id_, method.upper(), path, problem.reason, self._lines[problem.at])
            for id_, method, path, problem in problems
        ]

    @classmethod
    def of(cls, body: bytes) -> Api:
        """What the document in these bytes offers. Raises ConfigurationError for what is none."""
        return cls(Document(read_document(body)))

    @property
    def title(self) -> str:
        """As the document names itself."""
        return str(self.document.info.get("title", ""))[:200]

    @property
    def version(self) -> str:
        """The API's."""
        return str(self.document.info.get("version", ""))[:100]

    @property
    def webhooks(self) -> int:
        """What the system sends, which is nothing to be called."""
        found = self.document.value.get("webhooks")
        return len(found) if isinstance(found, dict) else 0

    @property
    def servers(self) -> list[str]:
        """The addresses that the document names."""
        found = self.document.value.get("servers")
        urls = [one.get("url") for one in found or () if isinstance(one, dict)]
        return [str(url)[:500] for url in urls if url]

    def line(self, operation: ApiOperation) -> int:
        """The line of an operation."""
        return self._lines[operation.at]

    def _places(
        self, problems: list[tuple[str, str, str, Unusable]]
    ) -> Iterator[tuple[str, str, dict[str, Any], Pointer]]:
        """Each operation of each path, with what its path says for all."""
        paths = self.document.value.get("paths")
        for path, item in paths.items() if isinstance(paths, dict) else ():
            at: Pointer = ("paths", path)
            try:
                item, at = self.document.followed(item, at)
                if not isinstance(item, dict):
                    raise Unusable("a path is an object", at)
            except Unusable as problem:
                problems.append((path, "", path, problem))
                continue
            for method in METHODS:
                if method not in item:
                    continue
                said = item[method]
                if isinstance(said, dict):
                    yield path, method, {"": item, **said}, (*at, method)
                else:
                    wrong = Unusable("an operation is an object", (*at, method))
                    problems.append((path, method, path, wrong))

    def _operation(self, path: str, method: str, said: dict[str, Any], at: Pointer) -> ApiOperation:
        if method in _NEVER:
            raise Unusable(_NEVER[method], at)
        if not path.startswith("/") or "#" in path:
            raise Unusable(f"the path {path[:200]!r} is no path of a URL", at[:2])
        notes: list[str] = []
        shared: tuple[Any, Pointer] = (said[""], at[:-1])
        found = parameters_of(self.document, self.schemas, path, (shared, (said, at)), notes)
        body, media, required, refers = self._body(said, at)
        arguments = argument_names(found.parameters, BODY if body is not None else "")
        refers |= found.refers
        self.schemas.require(refers)
        replies, reply_refers = self._replies(said, at, notes)
        made = ApiOperation(
            id=_id(said, method, path),
            name="",
            method=method,
            path=path,
            at=at,
            summary=_text(said.get("summary"))[:300],
            description=_text(said.get("description"))[:4_000],
            tag=next((str(t) for t in _list(said.get("tags"))), "")[:100],
            deprecated=said.get("deprecated") is True,
            arguments=arguments,
            body=body,
            media=media,
            body_required=required,
            replies=replies,
            refers=frozenset(refers),
            reply_refers=frozenset(reply_refers),
            notes=(*notes, *_servers(said)),
        )
        return replace(made, name=self._name(made.id))

    def _name(self, id_: str) -> str:
        wanted = identifier(id_)
        name, count = wanted, 1
        while name in self._names:
            count += 1
            name = f"{wanted}_{count}"
        self._names.add(name)
        return name

    def _body(self, said: Mapping[str, Any], at: Pointer) -> tuple[Any, str, bool, set[str]]:
        """The schema of the body, its media type, whether it must be, and what it refers to."""
        if "requestBody" not in said:
            return None, "", False, set()
        found, where = self.document.followed(said["requestBody"], (*at, "requestBody"))
        content = found.get("content") if isinstance(found, dict) else None
        if not isinstance(content, dict) or not content:
            raise Unusable("its body says not of which media type it is", where)
        media = json_media(content)
        if media is None:
            raise Unusable(f"its body is {', '.join(content)[:200]}, and no JSON", where)
        place = (*where, "content", media)
        schema = content[media].get("schema", True) if isinstance(content[media], dict) else True
        converted, refers = self.schemas.converted(schema, (*place, "schema"))
        required = found.get("required") is True
        return converted, "application/json" if "*" in media else media, required, refers

    def _replies(
        self, said: Mapping[str, Any], at: Pointer, notes: list[str]
    ) -> tuple[dict[str, Any], set[str]]:
        """The schemas of the good answers. One that cannot be described is handed on all the
        same."""
        replies: dict[str, Any] = {}
        refers: set[str] = set()
        responses = said.get("responses")
        for status, one in responses.items() if isinstance(responses, dict) else ():
            if not str(status).startswith("2"):
                continue
            try:
                found, where = self.document.followed(one, (*at, "responses", str(status)))
                content = found.get("content") if isinstance(found, dict) else None
                replies[str(status)] = None
                if not isinstance(content, dict) or not content:
                    continue
                media = json_media(content)
                if media is None:
                    told = ", ".join(content)[:100]
                    notes.append(f"its answer {status} is {told}: callers do not get it")
                elif isinstance(content[media], dict) and "schema" in content[media]:
                    place = (*where, "content", media, "schema")
                    schema, names = self.schemas.converted(content[media]["schema"], place)
                    self.schemas.require(names)
                    replies[str(status)] = schema
                    refers |= names
            except Unusable as problem:
                replies[str(status)] = None
                notes.append(f"its answer {status} is not described: {problem.reason}")
        return replies, refers


def json_media(content: Mapping[str, Any]) -> str | None:
    """Which of the media types is JSON."""
    for right in ("application/json", "+json", "/*"):
        for media in content:
            plain = media.partition(";")[0].strip().lower()
            if plain == right or (plain.endswith(right) and right != "application/json"):
                return media
    return None


def _servers(said: Mapping[str, Any]) -> Iterator[str]:
    for one in _list(said.get("servers")):
        if isinstance(one, dict) and one.get("url"):
            yield f"it has a server of its own, {str(one['url'])[:200]}: the sink's is asked"


def _id(said: Mapping[str, Any], method: str, path: str) -> str:
    given = said.get("operationId")
    return given if isinstance(given, str) and given else f"{method} {path}"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
