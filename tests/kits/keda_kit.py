"""KEDA as far as a scaler sees it: its client over gRPC, and its scaling between none and some.

The client behaves as ``pkg/scalers/external_scaler.go`` of KEDA 2.21 does; the scaling as
``pkg/scaling/executor/scale_scaledobjects.go``, in the time of whoever calls it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from trunkline.scaler.keda import externalscaler_pb2 as pb
from trunkline.scaler.service import ExternalScaler, handlers
from trunkline.scaler.watch import Watches

INDEX = "s0-"
"""What KEDA puts before the names of the first trigger's metrics."""


class KedaClient:
    """One ScaledObject's trigger of type external-push. ``pushed``: what its stream brought;
    ``specs``: what the other stream did; ``ends``: how each stream ended, "OK" or a code's name."""

    def __init__(self, address: str, metadata: Mapping[str, str]) -> None:
        self._channel = grpc.aio.insecure_channel(address)
        given = {"scalerAddress": address, **metadata}  # KEDA hands on all of the metadata
        self._ref = pb.ScaledObjectRef(name="orders", namespace="prod", scalerMetadata=given)
        self._calls = {m.name: self._call(m) for m in _service().methods}
        self.pushed: list[bool] = []
        self.specs: list[list[tuple[str, float]]] = []
        self.ends: list[str] = []

    def _call(self, method: Any) -> Any:
        made = self._channel.unary_stream if method.server_streaming else self._channel.unary_unary
        answer: Any = getattr(pb, method.output_type.name)
        return made(
            f"/{_service().full_name}/{method.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )

    async def specification(self) -> list[tuple[str, float]]:
        """GetMetricSpecForScaling: names and targets; the float wins if it is above 0."""
        return _targets(await self._calls["GetMetricSpec"](self._ref))

    async def round(self) -> tuple[dict[str, float], bool]:
        """GetMetricsAndActivity for each metric: values by name, and whether it is active. What
        fails in it is an error of the whole round."""
        values, active = {}, False
        for name, _ in await self.specification():
            # The HPA asks for the name with the index, which is cut off before the scaler hears it.
            asked = pb.GetMetricsRequest(
                scaledObjectRef=self._ref, metricName=f"{INDEX}{name}".removeprefix(INDEX)
            )
            for one in (await self._calls["GetMetrics"](asked)).metricValues:
                whole, exact = float(one.metricValue), one.metricValueFloat
                values[one.metricName] = exact if exact > 0 else whole
            active = (await self._calls["IsActive"](self._ref)).result
        return values, active

    async def ask(self, call: str, message: Any) -> Any:
        """One call as it is."""
        return await self._calls[call](message)

    async def follow(self) -> None:
        """One ``StreamIsActive``, to its end."""
        await self._follow("StreamIsActive", lambda one: self.pushed.append(one.result))

    async def follow_specification(self) -> None:
        """One ``StreamMetricSpec``, to its end."""
        await self._follow("StreamMetricSpec", lambda one: self.specs.append(_targets(one)))

    async def _follow(self, call: str, took: Callable[[Any], None]) -> None:
        try:
            async for one in self._calls[call](self._ref):
                took(one)
        except grpc.aio.AioRpcError as error:
            self.ends.append(error.code().name)
        else:
            self.ends.append("OK")

    async def close(self) -> None:
        """Hang up."""
        await self._channel.close()


def _service() -> Any:
    return pb.DESCRIPTOR.services_by_name["ExternalScaler"]


def _targets(answer: pb.GetMetricSpecResponse) -> list[tuple[str, float]]:
    return [
        (one.metricName, one.targetSizeFloat if one.targetSizeFloat > 0 else float(one.targetSize))
        for one in answer.metricSpecs
    ]


@asynccontextmanager
async def serving(watches: Watches) -> AsyncIterator[tuple[str, ExternalScaler]]:
    """KEDA's calls, answered of these; the address. All streams end before the server does."""
    scaler, server = ExternalScaler(watches), grpc.aio.server()
    server.add_generic_rpc_handlers((handlers(scaler),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}", scaler
    finally:
        scaler.stop()
        await server.stop(5)


@asynccontextmanager
async def asking(address: str, **metadata: str) -> AsyncIterator[KedaClient]:
    """A client, and the stream that KEDA has open all the time."""
    client = KedaClient(address, metadata)
    stream = asyncio.create_task(client.follow())
    try:
        yield client
    finally:
        stream.cancel()
        await asyncio.gather(stream, return_exceptions=True)
        await client.close()


@dataclass
class KedaScaling:
    """What KEDA makes of activity, between 0 and 1 replica. Times in seconds.

    ``starting``: how long a pod takes until it is ready. ``woken``, ``slept``: when it scaled.
    """

    cooldown: float = 300.0
    starting: float = 10.0
    replicas: int = 1
    last_active: float = 0.0
    ready_at: float = 0.0
    woken: list[float] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def push(self, now: float) -> None:
        """``true`` came over the stream."""
        self._activate(now)

    def poll(self, now: float, *, active: bool, error: bool = False) -> None:
        """A round of a polling interval has ended so."""
        if active:
            if not error or not self.replicas:
                self._activate(now)
        elif not error and self.replicas and now - self.last_active > self.cooldown:
            self.replicas = 0
            self.slept.append(now)

    def _activate(self, now: float) -> None:
        if not self.replicas:
            self.replicas, self.ready_at = 1, now + self.starting
            self.woken.append(now)
        self.last_active = now
