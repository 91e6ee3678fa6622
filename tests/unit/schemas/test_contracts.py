"""``trunkline schemas export``: contracts that the standard's own validators take."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from open_data_contract_standard.model import OpenDataContractStandard
from typer.testing import CliRunner

from cluster_world import process_left_as_it_was
from rule_corpus import SCHEMA
from trunkline.cli import app
from trunkline.schemas.contracts.odcs import contracts_of
from trunkline.schemas.contracts.yaml_text import yaml_text

ROOT = Path(__file__).resolve().parents[3]
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
FIELDS: list[dict[str, Any]] = [
    {"name": "price", "type": MONEY, "doc": "What it costs: 5 €, \u2028 \U0001f600."},
    {"name": "day", "type": {"type": "int", "logicalType": "date"}},
    {"name": "key", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "either", "type": ["null", "string", "long"], "default": None},
    {"name": "parts", "type": {"type": "array", "items": "shop.Thing"}, "default": []},
    {
        "name": "mail",
        "type": "string",
        "confluent:tags": ["PII"],
        "confluent:rules": [{"name": "at", "expr": "this.contains('@')", "doc": "an address"}],
    },
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "avro_schemas" / "shop"
    folder.mkdir(parents=True)
    thing = {"type": "record", "name": "Thing", "namespace": "shop", "fields": FIELDS}
    (folder / "Thing.avsc").write_text(json.dumps(thing))
    rules = [{"name": "some", "expr": "this.count > 0"}]
    (folder / "Sale.avsc").write_text(json.dumps({**SCHEMA, "confluent:rules": rules}))
    return tmp_path / "avro_schemas"


def required_by_the_standard(contract: Any) -> None:
    """Its JSON schema, as its package has it, and its model, which knows no other names."""
    file = files("open_data_contract_standard") / "schema.json"  # its own way to it is deprecated
    jsonschema.validate(contract, json.loads(file.read_text("utf-8")))
    OpenDataContractStandard(**contract)


def test_a_contract_says_what_the_schema_says(source: Path) -> None:
    contract = contracts_of(source, "1.2.3")["shop"]
    required_by_the_standard(contract)
    assert (contract["apiVersion"], contract["version"]) == ("v3.1.0", "1.2.3")
    sale, thing = contract["schema"]
    assert (sale["name"], thing["physicalName"]) == ("Sale", "shop.Thing")
    assert sale["quality"] == [
        {"name": "some", "type": "custom", "engine": "cel", "implementation": "this.count > 0"}
    ]
    found = {one["name"]: one for one in sale["properties"] + thing["properties"]}
    assert found["note"]["required"] is False
    assert found["id"]["required"] is True
    assert found["status"]["quality"][0]["arguments"] == {"validValues": ["open", "paid"]}
    assert [one["name"] for one in found["buyer"]["properties"]] == ["name", "age"]
    assert found["price"]["physicalType"] == "bytes as decimal(9, 2)"
    assert found["either"]["physicalType"] == "null | string | long"
    assert found["parts"]["items"]["physicalType"] == "record shop.Thing"
    assert found["mail"]["classification"] == "confidential"
    assert found["mail"]["quality"][0]["implementation"] == "this.contains('@')"


def test_what_is_shipped_and_what_is_written_is_valid(source: Path, tmp_path: Path) -> None:
    into = tmp_path / "new" / "contracts"
    for folder in (ROOT / "avro_schemas", source):
        with process_left_as_it_was():
            words = ["schemas", "export", "--odcs", str(into), "--source", str(folder)]
            done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        for name, contract in contracts_of(folder, "1.0.0").items():
            written = yaml.safe_load((into / f"{name}.odcs.yaml").read_text("utf-8"))
            assert written == contract
            required_by_the_standard(written)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)


@settings(max_examples=100)
@given(PLAIN)
def test_what_is_written_reads_back(value: Any) -> None:
    assert yaml.safe_load(yaml_text(value)) == value
