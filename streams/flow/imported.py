"""Operations that a flow takes from an OpenAPI document of its system."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from trunkline.connectors.base import HttpRequest
from trunkline.errors import ConfigurationError, Rejected
from trunkline.streams.flow.decorated import DeclaringFlow
from trunkline.streams.flow.operation import Call, HttpOperation, parse_operation
from trunkline.streams.flow.problems import Problem, SourceLocation

if TYPE_CHECKING:  # whoever imports nothing loads nothing of it
    from trunkline.openapi.api import Api, ApiOperation
    from trunkline.openapi.calls import CallForm

_VERBS = {"safe": "get", "idempotent": "replace", "unsafe": "call"}


@dataclass(frozen=True, slots=True)
class OpenAPI:
    """A document of a system's API: the file that ``trunkline operations import`` has pinned, or
    any of OpenAPI 3.0 or 3.1. ``path``: from the folder of the flow's file."""

    path: str | os.PathLike[str]


class ImportOptions(TypedDict, total=False):
    """What imported operations can be given, each by the operation's id."""

    key: Mapping[str, str]
    wait: Mapping[str, str]
    expires: Mapping[str, str]
    doubt: Mapping[str, str]
    approve: Mapping[str, str]
    cost: Mapping[str, int]
    max_backlog: Mapping[str, str]


class ImportedOperation(HttpOperation[Any]):
    """An operation of a document. What is given to it is its request, as the document describes it:
    an object of the parameters, and of ``body``."""

    form: CallForm

    def sent(self, data: Any) -> Any:
        """The envelope of a request. Raises Rejected for one that is not acceptable."""
        return self.form.envelope(data)


class ImportedOperations(Mapping[str, ImportedOperation]):
    """The operations that were imported, by their names. ``problem``: why there is none."""

    def __init__(self, found: Mapping[str, ImportedOperation], what: str, problem: str) -> None:
        self._found = found
        self._what = what
        self._problem = problem

    def __getitem__(self, name: str) -> ImportedOperation:
        try:
            return self._found[name]
        except KeyError:
            told = self._problem or f"there are {', '.join(self._found)}"
            raise ConfigurationError(f"{self._what} has no operation {name!r}: {told}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def imported_operations(
    flow: DeclaringFlow,
    to: Any,
    document: OpenAPI,
    place: SourceLocation,
    *,
    only: Sequence[str],
    rename: Mapping[str, str],
    reads: Sequence[str],
    options: Mapping[str, Mapping[str, Any]],
) -> ImportedOperations:
    """Declare the operations of a document. Whatever is wrong becomes a problem of ``place``."""
    from trunkline.openapi.api import Api
    from trunkline.openapi.pinned import origin_of, select

    def note(told: str) -> None:
        flow.problems.append(Problem(place, f"{what}: {told}"))

    what = f"{document.path}"
    if not hasattr(to, "operations"):
        note(told := f"the first argument is {to!r}: name a destination of this flow")
        return ImportedOperations({}, what, told)
    try:
        api = Api.of((Path(place.file).parent / document.path).read_bytes())
        origin_of(api)
        chosen = select(api, only)
    except OSError as error:
        note(told := f"it cannot be read: {error.strerror}")
        return ImportedOperations({}, what, told)
    except ConfigurationError as error:
        note(told := str(error))
        return ImportedOperations({}, what, told)
    known = {name for one in chosen for name in (one.id, one.name)}
    given = {"rename": rename, "reads": dict.fromkeys(reads), **options}
    for argument, by_name in given.items():
        for name in by_name:
            if name not in known:
                note(f"{argument}=: no operation {name!r} is imported")
    found: dict[str, ImportedOperation] = {}
    by_id: dict[str, ImportedOperation] = {}
    for one in chosen:
        name = rename.get(one.id, rename.get(one.name, one.name))
        if not name.isidentifier() or not name.isascii():
            note(f"rename=: {name!r} is no name of letters, digits and '_'")
            continue
        own = {n: v[key] for n, v in options.items() for key in {one.id, one.name} if key in v}
        if one.id in reads or one.name in reads:
            own["reads"] = True
        operation = _declared(flow, to, api, one, name, own, note)
        operation.place = place
        found[name] = by_id[one.id] = operation
    for name, operation in by_id.items():
        found.setdefault(name, operation)
    for operation in by_id.values():
        to.operations.append(operation)
        flow.operations.append(operation)
    return ImportedOperations(found, what, "")


def _declared(
    flow: DeclaringFlow,
    to: Any,
    api: Api,
    one: ApiOperation,
    name: str,
    own: dict[str, Any],
    note: Callable[[str], None],
) -> ImportedOperation:
    from trunkline.openapi.calls import CallForm
    from trunkline.openapi.naming import identifier
    from trunkline.schemas.trunkline import HttpCall

    form = CallForm(api, one, name, str(own.pop("key", "")))
    resource = identifier(one.tag)[:50] if one.tag else "api"
    verb = "get" if own.pop("reads", False) else _VERBS[one.safety]
    written = {
        "verb": verb,
        "resource": "api" if resource == "operations" else resource,
        **({"key": "key"} if form.key else {}),
        **own,
    }
    policy, wrong = parse_operation(written)
    for told in (*wrong, *([form.key_problem] if form.key_problem else [])):
        note(f"operation {name}: {told}")

    def function(call: Call[Any]) -> HttpRequest:
        try:
            made = form.rendered(call.data)
        except ValueError as error:  # the gateway has seen to it: of another version of the flow
            raise Rejected(f"no request can be made of it: {error}") from error
        return HttpRequest(made.method, made.path, made.body, made.headers)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "\n\n".join(text for text in (one.summary, one.description) if text) or None
    function.__annotations__ = {"call": Call[HttpCall], "return": HttpRequest}
    operation = ImportedOperation(flow, function, to, policy)
    operation.form = form
    return operation
