"""The chart's values.schema.json and the table of its README, made of the comments in values.yaml.

``python deploy/helm/generate.py`` writes both and copies the alert rules into the chart, since a
chart has only files of its own folder; with ``--check`` it writes nothing, and fails if one is
stale.

Above a value stand ``# -- `` with its meaning and, where its default does not say all of its type,
``# @schema `` with JSON Schema in one line. A map with a comment ``# -- `` is one value; any other
map is a group, whose keys are all that there are.
"""

from __future__ import annotations

import json
import re
import sys
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).with_name("trunkline")
RULES = Path(__file__).parents[1] / "prometheus" / "trunkline.rules.yml"
START, END = "<!-- values -->", "<!-- end of values -->"
KEY = re.compile(r"^( *)([A-Za-z][A-Za-z0-9]*):(?: (.*))?$")
TYPES = {bool: "boolean", int: "integer", str: "string", list: "array", dict: "object"}


@dataclass
class Value:
    """One documented value: its path, default, meaning and schema."""

    path: tuple[str, ...]
    default: Any
    meaning: str
    schema: dict[str, Any] = field(default_factory=dict)


def values(text: str) -> list[Value]:
    """The documented values of a values.yaml. Raises ValueError for one without a meaning."""
    defaults, found = yaml.safe_load(text), []
    path: list[str] = []
    meaning, schema = "", {}
    for line in text.splitlines():
        words = line.strip()
        if words.startswith("# -- "):
            meaning = words.removeprefix("# -- ")
        elif words.startswith("# @schema "):
            schema = json.loads(words.removeprefix("# @schema "))
        elif words.startswith("# ") and meaning:
            meaning += words.removeprefix("#")
        elif match := KEY.match(line):
            path[len(match[1]) // 2 :] = [match[2]]
            default = _at(defaults, path)
            if not meaning and (match[3] or not isinstance(default, dict)):
                raise ValueError(f"{'.'.join(path)} has no comment that begins with # --")
            if meaning:
                found.append(Value(tuple(path), default, meaning, schema))
            meaning, schema = "", {}
        elif not words:
            meaning, schema = "", {}
    return found


def schema(found: list[Value]) -> dict[str, Any]:
    """The JSON Schema of the values (draft 2020-12)."""
    root = _group()
    for value in found:
        group = root
        for name in value.path[:-1]:
            group = group["properties"].setdefault(name, _group())
        group["properties"][value.path[-1]] = _schema_of(value)
    own = deepcopy(root["properties"]["worker"])  # of which a flow's worker says a part
    _require(root, found)
    # What Helm itself adds: `global` always, `enabled` where a chart above this has a condition.
    root["properties"] |= {"global": {"type": "object"}, "enabled": {"type": "boolean"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Values of the chart trunkline",
        **root,
        "$defs": {"flow": _flow(), "worker": own},
    }


def table(found: list[Value]) -> str:
    """The values as a Markdown table."""
    lines = ["| value | default | meaning |", "|---|---|---|"]
    for value in found:
        default = json.dumps(value.default, separators=(", ", ": "))
        meaning = value.meaning.replace("|", "\\|")
        lines.append(f"| `{'.'.join(value.path)}` | `{default}` | {meaning} |")
    return "\n".join(lines)


def generated() -> dict[Path, str]:
    """Each generated file, and what it should hold."""
    found = values((CHART / "values.yaml").read_text("utf-8"))
    readme = CHART / "README.md"
    before, _, rest = readme.read_text("utf-8").partition(START)
    after = rest.partition(END)[2]
    return {
        CHART / "values.schema.json": json.dumps(schema(found), indent=2) + "\n",
        readme: f"{before}{START}\n{table(found)}\n{END}{after}",
        CHART / "files" / RULES.name: RULES.read_text("utf-8"),
    }


def main() -> int:
    stale = [p for p, text in generated().items() if not p.exists() or p.read_text("utf-8") != text]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path} is stale: run python deploy/helm/generate.py")
        return bool(stale)
    for path in stale:
        path.write_text(generated()[path], "utf-8")
        print(f"written: {path}")
    return 0


def _at(tree: Any, path: list[str]) -> Any:
    for name in path:
        tree = tree[name]
    return tree


def _group() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def _require(root: dict[str, Any], found: list[Value]) -> None:
    """Values must be there: of one that is null (``worker:`` and nothing below it) Helm takes the
    default away, too. Lists and maps that are empty by default may be missing as well."""
    for value in found:
        group = root
        for name in value.path if value.default not in ([], {}) else ():
            if name not in group.setdefault("required", []):
                group["required"].append(name)
            group = group["properties"][name]


def _schema_of(value: Value) -> dict[str, Any]:
    return {"type": TYPES[type(value.default)], "description": value.meaning, **value.schema}


def _flow() -> dict[str, Any]:
    """A flow of the release: its file, and its group, or its workers, each of which may say what a
    worker can."""
    workers = {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": "^[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?$"},
        "additionalProperties": {"$ref": "#/$defs/worker"},
    }
    group = {"type": "string", "minLength": 1}
    file = {"type": "string", "pattern": r"^[A-Za-z0-9_./-]+$", "minLength": 1}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["file"],
        "properties": {"file": file, "group": group, "workers": workers},
    }


if __name__ == "__main__":
    sys.exit(main())
