"""What Grafana's dashboards show: Prometheus' queries, each with the legend of its lines."""

from __future__ import annotations

from dataclasses import dataclass

D = 'flow=~"$flow",step="deliver",name=~"$destination"'
S = 'flow=~"$flow",step="publish",name=~"$source"'
F = 'flow=~"$flow"'


@dataclass(frozen=True)
class Panel:
    """``queries``: of PromQL, each with its legend. ``kind``: timeseries, stat or table.
    ``limits``: from which value on it is orange, and red."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    limits: tuple[float, float] | None = None
    about: str = ""


def _quantile(metric: str, labels: str, share: float) -> str:
    return f"histogram_quantile({share}, sum by (le, name) (rate({metric}_bucket{{{labels}}}[5m])))"


OVERVIEW = [
    Panel("Flows", "short", (("count(count by (flow) (trunkline_lag_seconds))", "flows"),), "stat"),
    Panel(
        "Breakers that are open",
        "short",
        (("sum(max by (flow, name) (trunkline_breaker_state) == bool 2)", "open"),),
        "stat",
        (1, 3),
        "Destinations whose system is down: their events wait.",
    ),
    Panel(
        "Dead letters in the last hour",
        "short",
        (("sum(increase(trunkline_dead_letters_total[1h]))", "events"),),
        "stat",
        (1, 100),
    ),
    Panel(
        "Events a second",
        "ops",
        (("sum by (flow, step) (rate(trunkline_events_out_total[5m]))", "{{flow}} {{step}}"),),
    ),
    Panel(
        "Age of the oldest event",
        "s",
        (("max by (flow, step) (trunkline_lag_seconds)", "{{flow}} {{step}}"),),
        limits=(60, 900),
        about="True at any traffic: how long the oldest event waits that is not finished.",
    ),
    Panel(
        "Errors a second",
        "ops",
        (("sum by (flow, error) (rate(trunkline_errors_total[5m]))", "{{flow}} {{error}}"),),
    ),
    Panel(
        "What does not run",
        "short",
        (
            ("max by (flow) (trunkline_flow_held) == 1", "{{flow}} is held"),
            ("max by (flow, name) (trunkline_source_at_risk) == 1", "{{flow}}.{{name}} is at risk"),
            (
                "max by (flow, name) (trunkline_dead_letter_limit_tripped) == 1",
                "{{flow}}.{{name}} has tripped",
            ),
        ),
    ),
    Panel(
        "Kafka transactions that failed, a second",
        "ops",
        (
            (
                "sum by (flow, step) (rate(trunkline_transaction_failures_total[5m]))",
                "{{flow}} {{step}}",
            ),
        ),
    ),
    Panel(
        "Spans that the collector did not get, a second",
        "ops",
        (("sum(rate(trunkline_spans_dropped_total[5m]))", "spans"),),
    ),
]

FLOW = [
    Panel(
        "Published, routed, delivered a second",
        "ops",
        (
            (
                f"sum by (step, name) (rate(trunkline_events_out_total{{{F}}}[5m]))",
                "{{step}} {{name}}",
            ),
        ),
    ),
    Panel(
        "Age of the oldest event",
        "s",
        ((f"max by (step, name) (trunkline_lag_seconds{{{F}}})", "{{step}} {{name}}"),),
        limits=(60, 900),
    ),
    Panel(
        "Events that wait",
        "short",
        ((f"sum by (step, name) (trunkline_lag_messages{{{F}}})", "{{step}} {{name}}"),),
    ),
    Panel(
        "Dead letters a minute",
        "short",
        (
            (
                f"60 * sum by (step, name) (rate(trunkline_dead_letters_total{{{F}}}[5m]))",
                "{{step}} {{name}}",
            ),
        ),
    ),
    Panel(
        "Errors a second",
        "ops",
        (
            (
                f"sum by (step, name, error) (rate(trunkline_errors_total{{{F}}}[5m]))",
                "{{step}} {{name}} {{error}}",
            ),
        ),
    ),
    Panel(
        "Partitions that cannot be routed",
        "short",
        (
            (f"sum(trunkline_held_partitions{{{F}}})", "partitions"),
            (f"max(trunkline_held_seconds{{{F}}})", "seconds, the longest"),
        ),
        limits=(1, 600),
    ),
    Panel(
        "Left out on purpose, a second",
        "ops",
        (
            (
                f"sum by (name, topic) (rate(trunkline_left_out_total{{{F}}}[5m]))",
                "{{name}} {{topic}}",
            ),
            (
                f"sum by (name) (rate(trunkline_dropped_deletes_total{{{F}}}[5m]))",
                "deletes of {{name}}",
            ),
        ),
    ),
    Panel(
        "Events that broke a rule of their schema, an hour",
        "short",
        (
            (
                f"sum by (name, type, rule) (increase(trunkline_rule_violations_total{{{F}}}[1h]))",
                "{{name}} {{type}} {{rule}}",
            ),
        ),
    ),
    Panel(
        "Rows of tables, and what is not read yet",
        "short",
        (
            (f"sum by (name) (trunkline_table_rows{{{F}}})", "rows of {{name}}"),
            (f"sum by (name) (trunkline_table_lag_messages{{{F}}})", "{{name}}, not read"),
        ),
    ),
    Panel(
        "Workers",
        "short",
        (
            (
                f"count by (flow) (count by (flow, instance) (trunkline_lag_seconds{{{F}}}))",
                "{{flow}}",
            ),
        ),
    ),
]

DESTINATION = [
    Panel(
        "Breaker: 0 closed, 1 probing, 2 open",
        "short",
        ((f"max by (name) (trunkline_breaker_state{{{D}}})", "{{name}}"),),
        limits=(1, 2),
    ),
    Panel(
        "How long it has not been closed",
        "s",
        ((f"max by (name) (trunkline_breaker_open_seconds{{{D}}})", "{{name}}"),),
        limits=(60, 600),
    ),
    Panel(
        "Delivered a second",
        "ops",
        ((f"sum by (name) (rate(trunkline_events_out_total{{{D}}}[5m]))", "{{name}}"),),
    ),
    Panel(
        "Age of the oldest event",
        "s",
        ((f"max by (name) (trunkline_lag_seconds{{{D}}})", "{{name}}"),),
        limits=(60, 900),
    ),
    Panel(
        "Events that wait: in the inbox, in retry tiers",
        "short",
        (
            (f"sum by (name) (trunkline_lag_messages{{{D}}})", "{{name}}, all"),
            (f"sum by (name) (trunkline_waiting_events{{{D}}})", "{{name}}, for a retry"),
        ),
    ),
    Panel(
        "Time of a call",
        "s",
        (
            (_quantile("trunkline_batch_seconds", D, 0.5), "{{name}}, half"),
            (_quantile("trunkline_batch_seconds", D, 0.99), "{{name}}, 99 of 100"),
        ),
    ),
    Panel(
        "Retries a second, by tier",
        "ops",
        ((f"sum by (name, tier) (rate(trunkline_retries_total{{{D}}}[5m]))", "{{name}} {{tier}}"),),
    ),
    Panel(
        "How much later than due",
        "s",
        ((_quantile("trunkline_retry_lateness_seconds", D, 0.99), "{{name}}, 99 of 100"),),
    ),
    Panel(
        "Dead letters a minute, errors a second",
        "short",
        (
            (
                f"60 * sum by (name) (rate(trunkline_dead_letters_total{{{D}}}[5m]))",
                "{{name}}, dead letters",
            ),
            (
                f"sum by (name, error) (rate(trunkline_errors_total{{{D}}}[5m]))",
                "{{name}} {{error}}",
            ),
        ),
    ),
    Panel(
        "Enrichment: what came of it, a second",
        "ops",
        (
            (
                f"sum by (name, outcome) (rate(trunkline_enrichments_total{{{D}}}[5m]))",
                "{{name}} {{outcome}}",
            ),
        ),
    ),
    Panel(
        "Enrichment: time of a call",
        "s",
        ((_quantile("trunkline_enrichment_seconds", D, 0.99), "{{name}}, 99 of 100"),),
    ),
    Panel(
        "Dead-letter limit tripped",
        "short",
        ((f"max by (name) (trunkline_dead_letter_limit_tripped{{{D}}})", "{{name}}"),),
        limits=(1, 1),
    ),
]

SOURCE_PANELS = [
    Panel(
        "Published a second",
        "ops",
        ((f"sum by (name) (rate(trunkline_events_out_total{{{S}}}[5m]))", "{{name}}"),),
    ),
    Panel(
        "How late it is",
        "s",
        ((f"max by (name) (trunkline_lag_seconds{{{S}}})", "{{name}}"),),
        limits=(60, 900),
        about="Also while it fails, waits, or has not reached its system's end.",
    ),
    Panel(
        "At risk",
        "short",
        ((f"max by (name) (trunkline_source_at_risk{{{S}}})", "{{name}}"),),
        limits=(1, 1),
        about="Its system says that it will remove what is not read, or that its disk may fill.",
    ),
    Panel(
        "Log that its system keeps, and how much is left",
        "bytes",
        (
            (
                f'max by (name, gauge) (trunkline_source_gauge{{{S},gauge=~".*_bytes"}})',
                "{{name}} {{gauge}}",
            ),
        ),
    ),
    Panel(
        "How long until it is removed",
        "s",
        ((f'min by (name) (trunkline_source_gauge{{{S},gauge="left_seconds"}})', "{{name}}"),),
    ),
    Panel(
        "Dead letters a minute, errors a second",
        "short",
        (
            (
                f"60 * sum by (name) (rate(trunkline_dead_letters_total{{{S}}}[5m]))",
                "{{name}}, dead letters",
            ),
            (
                f"sum by (name, error) (rate(trunkline_errors_total{{{S}}}[5m]))",
                "{{name}} {{error}}",
            ),
        ),
    ),
]

DASHBOARDS: dict[str, tuple[str, list[Panel], dict[str, str]]] = {
    "overview": ("Trunkline: all flows", OVERVIEW, {}),
    "flow": ("Trunkline: a flow", FLOW, {"flow": "label_values(trunkline_lag_seconds, flow)"}),
    "destination": (
        "Trunkline: a destination",
        DESTINATION,
        {
            "flow": "label_values(trunkline_breaker_state, flow)",
            "destination": 'label_values(trunkline_breaker_state{flow=~"$flow"}, name)',
        },
    ),
    "source": (
        "Trunkline: a source",
        SOURCE_PANELS,
        {
            "flow": "label_values(trunkline_source_at_risk, flow)",
            "source": 'label_values(trunkline_source_at_risk{flow=~"$flow"}, name)',
        },
    ),
}
