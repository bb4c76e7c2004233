"""The procedures of ``inference.GRPCInferenceService``, over the same functions as the REST routes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar

import grpc

from mlops_box import __version__
from mlops_box.errors import BoxError
from mlops_box.serving.problems import HttpProblem, problem_of
from mlops_box.serving.protocols.interface import Interfaces
from mlops_box.serving.request_ids import RequestIds
from mlops_box_services import oip_api
from mlops_box_services.exchange import CLIENT_GONE
from mlops_box_services.grpc_call import REQUEST_ID, GrpcCall, given_id, observe
from mlops_box_services.grpc_codec import read_request, write_answer, write_metadata
from mlops_box_services.grpc_errors import status_of
from mlops_box_services.runtime import Runtime
from mlops_box_services.stubs import open_inference_pb2 as pb

log = logging.getLogger(__name__)

Request = TypeVar("Request")
Response = TypeVar("Response")
Work = Callable[[GrpcCall, Request], Awaitable[Response]]


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
        return await self._answered("ServerReady", self._ready, request, context)

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

    async def _ready(self, call: GrpcCall, request: pb.ServerReadyRequest) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=await oip_api.is_ready(self._runtime))

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
        work: Work[Request, Response],
        request: Request,
        context: Any,
    ) -> Response:
        """The answer of ``work``, or a call that ended with the status of its error."""
        request_id = self._request_ids.take(given_id(context))
        call = GrpcCall(self._runtime, self._clock.monotonic_s(), request_id)
        try:
            found = await _outcome(work, call, request)
        except asyncio.CancelledError:
            call.outcome = CLIENT_GONE
            self._tell(call, method, request, None, grpc.StatusCode.CANCELLED, context)
            raise
        trailer = ((REQUEST_ID, request_id.decode()),)
        if isinstance(found, HttpProblem):
            call.outcome = found.code
            self._runtime.metrics.refused(found.code)
            code, text, metadata = status_of(found)
            self._tell(call, method, request, None, code, context)
            return await _abort(context, code, text, (*trailer, *metadata))
        context.set_trailing_metadata(trailer)
        self._tell(call, method, request, found, grpc.StatusCode.OK, context)
        return found

    def _tell(
        self, call: GrpcCall, method: str, request: Any, answer: Any, code: grpc.StatusCode, context: Any
    ) -> None:
        observers = self._runtime.observers
        if observers is not None:
            observers.tell(observe(call, method, request, answer, code, context, self._clock.monotonic_s()))


async def _outcome(work: Work[Request, Response], call: GrpcCall, request: Request) -> Response | HttpProblem:
    """The answer of ``work``, or what HTTP would say in its place."""
    try:
        return await work(call, request)
    except HttpProblem as problem:
        return problem
    except BoxError as error:
        return problem_of(error)
    except Exception:  # the process's boundary, as in the HTTP front
        log.exception("call %s failed", call.request_id.decode())
        message = "an unexpected failure; the server's log has it under this request id"
        return HttpProblem(500, "internal", message)


async def _abort(context: Any, code: grpc.StatusCode, text: str, metadata: Any) -> NoReturn:
    await context.abort(code, text, metadata)
    raise AssertionError("gRPC's abort returned")
