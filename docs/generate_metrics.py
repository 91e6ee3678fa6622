"""The metrics reference, made of the code: ``python docs/generate_metrics.py`` writes
``metrics.md`` beside it; with ``--check`` it writes nothing, and fails if that is stale.

Names, types, labels and meanings are those of the metrics themselves. What a label can be, and so
how many series there are, stands in ``LABELS``: one that is not described there is a mistake.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from trunkline.gateway.metrics import GatewayMetrics
from trunkline.scaler.metrics import FAMILIES
from trunkline.streams.metrics import Metrics

PAGE = Path(__file__).with_name("metrics.md")

LABELS = {
    "flow": ("the flow's name", "flows of the process, or that the scaler serves"),
    "step": ("`publish`, `route`, `deliver`, `table`", "4"),
    "name": (
        "of the source, destination or table; of step `route` the flow's",
        "parts that the flow's file has",
    ),
    "topic": (
        'the canonical topic; "" for streams that the source ignores',
        "topics of the source, and 1",
    ),
    "type": ("the Avro type's full name", "types that the flow's topics and destinations have"),
    "rule": ("the rule's name", "rules in the schemas of these types"),
    "error": ("the error's class", "classes that Trunkline, drivers and your code raise"),
    "tier": ("the delay of the retry topic, as `10s`", "delays in the destination's `Retry`"),
    "outcome": ("`enriched`, `cached`, `dropped`, `failed`", "4"),
    "gauge": (
        "what the source's system tells, which ends with its unit:"
        " [which](operations.md#what-a-sources-system-tells)",
        "gauges of the connector, 5 at the most of ours",
    ),
    "system": ("`<flow>.<destination>` as the gateway offers it", "systems that it serves"),
    "operation": ("the operation's or query's name", "those of the system; no other is counted"),
    "status": ("the HTTP status", "those of the [problems](gateway.md#problems), and 200 and 202"),
    "issuer": ("the issuer's name", "issuers in `access.toml`"),
}
"""What each label is, and what bounds the number of its values."""

SEE = {
    "trunkline_rule_violations_total": "[rules](schemas.md#rules)",
    "trunkline_flow_held": "[several flows](operations.md#several-flows-in-one-process)",
    "trunkline_held_partitions": "[routes](flows.md#a-route-that-cannot-tell-now)",
    "trunkline_spans_dropped_total": "[traces](traces.md)",
    "trunkline_enrichments_total": "[enrichment](enrichment.md)",
    "trunkline_source_gauge": "[gauges](operations.md#what-a-sources-system-tells)",
    "trunkline_breaker_state": "[breaker](breaker.md)",
    "trunkline_dead_letter_limit_tripped": "[limit](breaker.md#dead-letter-limit)",
    "trunkline_retries_total": "[retries](delivery.md)",
    "trunkline_scaler_active": "[scaling](scaling.md)",
}
"""Where more of a metric is to be read."""


@dataclass(frozen=True)
class Described:
    """A metric as its reader sees it."""

    name: str
    type: str
    labels: tuple[str, ...]
    meaning: str


def of_registry(registry: CollectorRegistry) -> list[Described]:
    """The metrics of a registry, in the order in which they are made."""
    found = dict.fromkeys(registry._names_to_collectors.values())  # it tells of labels nowhere else
    return [_described(metric) for metric in found]


def _described(metric: Any) -> Described:
    (family,) = metric.describe()
    name = family.name + ("_total" if family.type == "counter" else "")
    return Described(name, family.type, tuple(metric._labelnames), family.documentation)


def of_scaler() -> list[Described]:
    """The metrics of a scaler."""
    return [
        Described(name, "gauge", tuple(labels or ()), meaning)
        for name, meaning, _, labels in FAMILIES
    ]


def page() -> str:
    """The whole page."""
    worker = of_registry(Metrics().registry)
    gateway, scaler = of_registry(GatewayMetrics().registry), of_scaler()
    used = {label for metric in (*worker, *gateway, *scaler) for label in metric.labels}
    if used != LABELS.keys():
        raise ValueError(f"LABELS and the metrics differ in {sorted(used ^ LABELS.keys())}")
    parts = [
        "# Metrics",
        "Every metric that Trunkline has, made of the code by `python docs/generate_metrics.py`. "
        "They are at `/metrics` of the [health port](operations.md#health), in Prometheus' text "
        "format. [Alert rules](alerts.md#prometheus) and [dashboards](alerts.md#dashboards) read "
        "them.",
        "## Of workers",
        "Counted per micro-batch, in each worker: sum counters over workers, and take the `max` "
        "of ages.",
        _table(worker),
        "## Of the gateway",
        _table(gateway),
        "## Of the scaler",
        _table(scaler),
        "## Labels",
        "No label has a key, an event's id, an address or a message of an error: what bounds their "
        "number stands in a flow's file, in its schemas, in `access.toml` or in the code.",
        _labels(),
    ]
    return "\n\n".join(parts) + "\n"


def _table(metrics: Iterable[Described]) -> str:
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for one in metrics:
        labels = ", ".join(f"`{label}`" for label in one.labels) or "none"
        see = f" See {SEE[one.name]}" if one.name in SEE else ""
        lines.append(f"| `{one.name}` | {one.type} | {labels} | {one.meaning}{see} |")
    return "\n".join(lines)


def _labels() -> str:
    lines = ["| label | is | so many values at the most |", "|---|---|---|"]
    lines += [f"| `{label}` | {what} | {bound} |" for label, (what, bound) in LABELS.items()]
    return "\n".join(lines)


def main() -> int:
    """Write the page, or say that it is stale. Returns the exit code."""
    made = page()
    if PAGE.exists() and PAGE.read_text("utf-8") == made:
        return 0
    if "--check" in sys.argv:
        print(f"{PAGE} is stale: python docs/generate_metrics.py", file=sys.stderr)
        return 1
    PAGE.write_text(made, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
