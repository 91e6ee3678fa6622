"""A destination's enrichment, made ready for its delivery step."""

from __future__ import annotations

from collections.abc import Callable

from trunkline.streams.admission.controller import AdmissionController, EnrichmentAdmission
from trunkline.streams.enrichment.enricher import CompiledEnrichment, Enricher
from trunkline.streams.flow.circuit_breaker import CircuitBreaker
from trunkline.streams.metrics import DeliveryMetrics


def breaker_of(compiled: CompiledEnrichment | None) -> CircuitBreaker | None:
    """When the system that the function asks counts as down."""
    return None if compiled is None else compiled.policy.breaker


def enrichment_of(
    compiled: CompiledEnrichment | None,
    admission: AdmissionController,
    metrics: DeliveryMetrics,
    clock: Callable[[], float],
) -> tuple[Enricher, EnrichmentAdmission] | None:
    """What calls the function, and when it may; None for a destination without an enrichment."""
    if compiled is None or admission.enrichment is None:
        return None
    return Enricher(compiled, metrics=metrics, clock=clock), admission.enrichment
