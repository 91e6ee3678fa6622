"""KEDA's five calls. Every answer comes from memory.

How KEDA 2.21 uses them (its ``external_scaler.go``): each polling interval it calls GetMetricSpec,
GetMetrics and then IsActive, and an error in any of them makes the whole round an error, after
which the replicas stay as they are. Only IsActive can end activity; of what StreamIsActive pushes
only ``true`` counts, at once. A stream that ends with an error is opened again after two seconds,
four, … up to a minute, and only one that ended well sets that back: so streams always end with OK.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, NoReturn

import grpc
import grpc.aio

from trunkline.errors import ConfigurationError
from trunkline.scaler.keda import externalscaler_pb2 as pb
from trunkline.scaler.watch import Unknown, Watch, Watches

METRIC = "workers"
"""The metric: how many workers are of use. One each is the target."""
STREAM_LASTS = 600.0
"""Seconds after which a stream ends by itself, and a half as many more at the most: KEDA opens it
again, at another replica, too, and has no long back-off left over from an outage."""

Context = grpc.aio.ServicerContext[Any, Any]


class ExternalScaler:
    """The calls of KEDA's ``ExternalScaler``, for the event loop."""

    def __init__(self, watches: Watches) -> None:
        self._watches = watches
        self._stopping = False

    def stop(self) -> None:
        """End all streams, each with OK."""
        self._stopping = True
        self._watches.wake()

    async def is_active(self, ref: pb.ScaledObjectRef, context: Context) -> pb.IsActiveResponse:
        """Whether workers must run."""
        watch = await self._meant(ref, context)
        self._watches.polled(watch)
        try:
            return pb.IsActiveResponse(result=self._watches.answer(watch).active)
        except Unknown as error:
            await _abort(context, grpc.StatusCode.UNAVAILABLE, error)

    async def stream_is_active(
        self, ref: pb.ScaledObjectRef, context: Context
    ) -> AsyncIterator[pb.IsActiveResponse]:
        """Whether workers must run: how it is now, and then each change, once.

        A ``true`` that is repeated would put off the scaling to zero. While nothing is known
        nothing is told.
        """
        watch = await self._meant(ref, context)
        told: bool | None = None
        async for _ in self._while_it_lasts(watch):
            if watch.active is not None and watch.active != told:
                told = watch.active
                yield pb.IsActiveResponse(result=told)

    async def get_metric_spec(
        self, ref: pb.ScaledObjectRef, context: Context
    ) -> pb.GetMetricSpecResponse:
        """The metric and its target."""
        await self._meant(ref, context)
        return _spec()

    async def stream_metric_spec(
        self, ref: pb.ScaledObjectRef, context: Context
    ) -> AsyncIterator[pb.GetMetricSpecResponse]:
        """The same; it never changes."""
        watch = await self._meant(ref, context)
        yield _spec()
        async for _ in self._while_it_lasts(watch):
            pass

    async def get_metrics(
        self, request: pb.GetMetricsRequest, context: Context
    ) -> pb.GetMetricsResponse:
        """How many workers are of use now: KEDA divides it by the target, which is one."""
        watch = await self._meant(request.scaledObjectRef, context)
        if request.metricName != METRIC:
            error = ConfigurationError(f"there is no metric {request.metricName!r}, but {METRIC!r}")
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, error)
        try:
            workers = self._watches.answer(watch).workers
        except Unknown as error:
            await _abort(context, grpc.StatusCode.UNAVAILABLE, error)
        # Where the float is 0 KEDA takes the whole number: so that must be 0 then, too.
        value = pb.MetricValue(
            metricName=METRIC, metricValue=math.ceil(workers), metricValueFloat=workers
        )
        return pb.GetMetricsResponse(metricValues=[value])

    async def _meant(self, ref: pb.ScaledObjectRef, context: Context) -> Watch:
        try:
            return self._watches.watch(ref.scalerMetadata)
        except ConfigurationError as error:
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, error)

    async def _while_it_lasts(self, watch: Watch) -> AsyncIterator[None]:
        """At once, and after each change, until the stream is to end."""
        ends = asyncio.get_running_loop().time() + STREAM_LASTS * (1 + random.random() / 2)
        with suppress(TimeoutError):
            while not self._stopping:
                changed = watch.changed  # before the yield: a change meanwhile counts
                yield
                async with asyncio.timeout_at(ends):
                    await changed.wait()


def _spec() -> pb.GetMetricSpecResponse:
    spec = pb.MetricSpec(metricName=METRIC, targetSize=1, targetSizeFloat=1.0)
    return pb.GetMetricSpecResponse(metricSpecs=[spec])


async def _abort(context: Context, code: grpc.StatusCode, error: Exception) -> NoReturn:
    await context.abort(code, str(error))
    raise AssertionError("abort() raises")


def handlers(scaler: ExternalScaler) -> grpc.GenericRpcHandler:
    """The calls as a server takes them. Which there are, says KEDA's ``.proto``."""
    service = pb.DESCRIPTOR.services_by_name["ExternalScaler"]
    calls: dict[str, Callable[..., Any]] = {
        "IsActive": scaler.is_active,
        "StreamIsActive": scaler.stream_is_active,
        "GetMetricSpec": scaler.get_metric_spec,
        "StreamMetricSpec": scaler.stream_metric_spec,
        "GetMetrics": scaler.get_metrics,
    }
    made = {}
    for method in service.methods:
        kind = (
            grpc.unary_stream_rpc_method_handler
            if method.server_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        request: Any = getattr(pb, method.input_type.name)
        answer: Any = getattr(pb, method.output_type.name)
        made[method.name] = kind(
            calls[method.name],
            request_deserializer=request.FromString,
            response_serializer=answer.SerializeToString,
        )
    return grpc.method_handlers_generic_handler(service.full_name, made)
