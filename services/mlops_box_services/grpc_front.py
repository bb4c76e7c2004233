"""The gRPC server beside HTTP: same event loop, same models, same log. Importing this loads gRPC; only who serves it does.

``inference.GRPCInferenceService`` of the Open Inference Protocol, the standard health service and reflection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from mlops_box.errors import BusyError, UnavailableError
from mlops_box.serving.guard import MAX_BODY_BYTES
from mlops_box_services.grpc_auth import TokenInterceptor
from mlops_box_services.grpc_call import SERVICE
from mlops_box_services.grpc_port import Place, place_text
from mlops_box_services.grpc_service import InferenceService
from mlops_box_services.oip_api import is_ready
from mlops_box_services.runtime import Runtime
from mlops_box_services.stubs import open_inference_pb2 as pb
from mlops_box_services.stubs.open_inference_pb2_grpc import add_GRPCInferenceServiceServicer_to_server

log = logging.getLogger(__name__)

GRACE_S = 5.0
HEALTH_EVERY_S = 0.5
MAX_CALLS = 4096
# Algorithms that messages may be packed with: none (bit 0). What a message becomes when it is unpacked has no limit.
_NO_COMPRESSION = 1


class GrpcFront:
    """One process's gRPC server; workers share the port.

    Args:
        place: Address and port, reserved by somebody before: see :func:`mlops_box_services.grpc_port.reserve`.
    """

    def __init__(self, runtime: Runtime, place: Place, *, max_message_bytes: int = MAX_BODY_BYTES):
        self._runtime = runtime
        self._target = place_text(place)
        self._max_message_bytes = max_message_bytes
        self._server: Any = None
        self._health = health.aio.HealthServicer()
        self._health_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen and answer.

        Raises:
            BusyError: The port is somebody else's.
        """
        authorizer = self._runtime.authorizer
        interceptors = [TokenInterceptor(authorizer)] if authorizer is not None else []
        server = grpc.aio.server(
            interceptors=interceptors,
            maximum_concurrent_rpcs=MAX_CALLS,
            options=(
                ("grpc.max_receive_message_length", self._max_message_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.compression_enabled_algorithms_bitset", _NO_COMPRESSION),
                ("grpc.so_reuseport", 1),
            ),
        )
        add_GRPCInferenceServiceServicer_to_server(InferenceService(self._runtime), server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server, pool=_pool())
        try:
            server.add_insecure_port(self._target)
        except RuntimeError as error:
            raise BusyError(
                f"gRPC cannot listen at {self._target}", hint="choose another --grpc-port, or --no-grpc"
            ) from error
        # Other workers are not asked yet: one that starts does not hear their answers.
        await self._tell_health(bool(self._runtime.readiness()["ready"]))
        await server.start()
        self._server = server
        self._health_task = asyncio.create_task(self._keep_health())
        log.info("gRPC at %s", self._target)

    async def stop(self) -> None:
        """Refuse new calls, finish those under way; idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        if self._health_task is not None:
            self._health_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._health_task
        await self._health.enter_graceful_shutdown()
        await server.stop(GRACE_S)

    async def _keep_health(self) -> None:
        while True:
            await asyncio.sleep(HEALTH_EVERY_S)
            try:
                ready = await is_ready(self._runtime)
            except UnavailableError:
                ready = False
            await self._tell_health(ready)

    async def _tell_health(self, ready: bool) -> None:
        """What the health service says is what ``/readyz`` says, half a second later at most."""
        statuses = health_pb2.HealthCheckResponse
        status = statuses.SERVING if ready else statuses.NOT_SERVING
        for service in (health.OVERALL_HEALTH, SERVICE):
            await self._health.set(service, status)


def _pool() -> DescriptorPool:
    """What reflection shows: our protocol from its own pool, and the services beside it."""
    pool = DescriptorPool()
    for module in (pb, health_pb2, reflection_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    return pool
