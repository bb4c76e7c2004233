"""The procedures of ``inference.GRPCInferenceService``, over the same functions as the REST routes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import grpc

from mlops_box import __version__
from mlops_box.errors import BoxError
from mlops_box.serving.predictor import Reply
from mlops_box.serving.problems import HttpProblem, problem_of
from mlops_box.serving.protocols.interface import Interfaces
from mlops_box.serving.slot import Slot
from mlops_box_services import oip_api
from mlops_box_services.exchange import CLIENT_GONE
from mlops_box_services.grpc_codec import read_request, write_answer, write_metadata
from mlops_box_services.grpc_errors import status_of
from mlops_box_services.observing import Observed
from mlops_box_services.request_ids import RequestIds
from mlops_box_services.runtime import Runtime
from mlops_box_services.stubs import open_inference_pb2 as pb

log = logging.getLogger(__name__)

SERVICE = "inference.GRPCInferenceService"
_REQUEST_ID = "x-request-id"
_INTERNAL = "an unexpected failure; the server's log has it under this request id"
Request = TypeVar("Request")
Response = TypeVar("Response")


@dataclass(slots=True)
class GrpcCall:
    """One call of a procedure; see :class:`mlops_box_services.asking.Call`."""

    runtime: Runtime
    started_s: float
    slot: Slot | None = None
    variant: str | None = None
    reply: Reply | None = None


class InferenceService:
    """Registered with a gRPC server; a method a procedure."""

    def __init__(self, runtime: Runtime):
        self._runtime = runtime
        self._clock = runtime.box.clock
        self._interfaces = Interfaces()
        self._request_ids = RequestIds()

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Any) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Any) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=bool(self._runtime.readiness()["ready"]))

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Any) -> pb.ModelReadyResponse:
        return await self._answered("ModelReady", self._model_ready, request, context)

    async def ServerMetadata(
        self, request: pb.ServerMetadataRequest, context: Any
    ) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(
            name=oip_api.SERVER_NAME, version=__version__, extensions=oip_api.EXTENSIONS
        )

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Any) -> pb.ModelMetadataResponse:
        return await self._answered("ModelMetadata", self._model_metadata, request, context)

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Any) -> pb.ModelInferResponse:
        return await self._answered("ModelInfer", self._model_infer, request, context)

    async def _model_ready(self, call: GrpcCall, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        ready = await oip_api.is_model_ready(self._runtime, request.name, request.version)
        return pb.ModelReadyResponse(ready=ready)

    async def _model_metadata(
        self, call: GrpcCall, request: pb.ModelMetadataRequest
    ) -> pb.ModelMetadataResponse:
        content = await oip_api.model_metadata(self._runtime, self._interfaces, request.name, request.version)
        return write_metadata(content)

    async def _model_infer(self, call: GrpcCall, message: pb.ModelInferRequest) -> pb.ModelInferResponse:
        request, raw = read_request(message)
        answer = await oip_api.infer_with(
            call, self._interfaces, message.model_name, message.model_version, request
        )
        return write_answer(answer, raw=raw)

    async def _answered(
        self,
        method: str,
        work: Callable[[GrpcCall, Request], Awaitable[Response]],
        request: Request,
        context: Any,
    ) -> Response:
        """The answer of ``work``, or a call that ended with the status of its error."""
        call = GrpcCall(self._runtime, self._clock.monotonic_s())
        sent = context.invocation_metadata()
        request_id = self._request_ids.take(_given_id(sent))
        answer: Response | None = None
        problem = HttpProblem(500, "internal", _INTERNAL)
        try:
            answer = await work(call, request)
        except HttpProblem as found:
            problem = found
        except BoxError as error:
            problem = problem_of(error)
        except asyncio.CancelledError:
            self._tell(
                method, call, request, None, CLIENT_GONE, grpc.StatusCode.CANCELLED, request_id, context
            )
            raise
        except Exception:  # the process's boundary, as in the HTTP front
            log.exception("call %s failed", request_id.decode())
        trailer = ((_REQUEST_ID, request_id.decode()),)
        if answer is not None:
            context.set_trailing_metadata(trailer)
            self._tell(method, call, request, answer, "ok", grpc.StatusCode.OK, request_id, context)
            return answer
        self._runtime.metrics.refused(problem.code)
        code, text, metadata = status_of(problem)
        self._tell(method, call, request, None, problem.code, code, request_id, context)
        return await _abort(context, code, text, (*trailer, *metadata))

    def _tell(
        self,
        method: str,
        call: GrpcCall,
        request: Any,
        answer: Any,
        outcome: str,
        code: grpc.StatusCode,
        request_id: bytes,
        context: Any,
    ) -> None:
        observers = self._runtime.observers
        if observers is None:
            return
        slot, reply = call.slot, call.reply
        headers = [
            (key.encode(), value.encode())
            for key, value in context.invocation_metadata() or ()
            if isinstance(value, str)
        ]
        observed = Observed(
            call.started_s, self._clock.monotonic_s(), "grpc", method, f"{SERVICE}/{method}", code.value[0],
            reply.answers.outcome if reply is not None and outcome == "ok" else outcome,
            request_id, headers, _client(context.peer()), request.ByteSize(),
            answer.ByteSize() if answer is not None else 0,
            model=slot.version.model if slot is not None else None,
            version=slot.version.number if slot is not None else None,
            variant=call.variant,
            rows=len(reply.ids) if reply is not None else None,
            joined_s=reply.joined_s if reply is not None else None,
            call=reply.call if reply is not None else None,
        )  # fmt: skip
        observers.tell(observed)


async def _abort(context: Any, code: grpc.StatusCode, text: str, metadata: Any) -> NoReturn:
    await context.abort(code, text, metadata)
    raise AssertionError("gRPC's abort returned")


def _given_id(metadata: Any) -> bytes | None:
    for key, value in metadata or ():
        if key == _REQUEST_ID and isinstance(value, str):
            return value.encode()
    return None


def _client(peer: str) -> str | None:
    """The address in ``ipv4:127.0.0.1:5000`` or ``ipv6:%5B::1%5D:5000``."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return None
    return rest.rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]")
