"""The gRPC server of a real process: its stubs, health, reflection, limits, and how it comes and goes with HTTP."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from mlops_box_services.stubs import open_inference_pb2 as pb
from mlops_box_services.stubs.open_inference_pb2_grpc import GRPCInferenceServiceStub
from serving_kit import Server, register_fails, register_projects, register_rate, running, start_server

from mlops_box.box import Box

SERVICE = "inference.GRPCInferenceService"
WAIT_S = 30.0


def open_box(folder: Path, **rate: Any) -> Box:
    box = Box.open(folder / "home", actor="tester")
    register_projects(box)
    register_rate(box, **rate)
    register_fails(box)
    return box


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Box, Server]]:
    with (
        open_box(tmp_path_factory.mktemp("served")) as box,
        running(box.home.root, "--access-log") as server,
    ):
        yield box, server


@pytest.fixture
def channel(served: tuple[Box, Server]) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(served[1].address.grpc_target) as found:
        yield found


def floats(name: str, *values: float, datatype: str = "FP32") -> pb.ModelInferRequest.InferInputTensor:
    contents = pb.InferTensorContents(fp32_contents=values)
    return pb.ModelInferRequest.InferInputTensor(
        name=name, datatype=datatype, shape=[len(values)], contents=contents
    )


def rates(*inputs: pb.ModelInferRequest.InferInputTensor, **fields: Any) -> pb.ModelInferRequest:
    return pb.ModelInferRequest(model_name="rates", inputs=inputs, **fields)


def many(rows: int) -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[rows, 2])
    data = np.ones((rows, 2), dtype="<f4").tobytes()
    return pb.ModelInferRequest(model_name="rates", inputs=[tensor], raw_input_contents=[data])


def test_typed_contents_are_answered_by_typed_contents(channel: grpc.Channel) -> None:
    stub = GRPCInferenceServiceStub(channel)
    found = stub.ModelInfer(rates(floats("a", 1, 2), floats("b", 3, 4), id="mine"))
    assert (found.model_name, found.model_version, found.id) == ("rates", "1", "mine")
    assert list(found.outputs[0].contents.fp32_contents) == [4, 6]
    first = found.outputs[1].contents.bytes_contents[0].decode()
    assert found.parameters["prediction_id"].string_param == first
    assert not found.raw_output_contents
    raw = stub.ModelInfer(many(3))
    assert np.frombuffer(raw.raw_output_contents[0], dtype="<f4").tolist() == [2, 2, 2]


def test_texts_and_classes_go_as_typed_contents_too(channel: grpc.Channel) -> None:
    kind = pb.ModelInferRequest.InferInputTensor(
        name="kind", datatype="BYTES", shape=[1], contents=pb.InferTensorContents(bytes_contents=[b"m"])
    )
    request = pb.ModelInferRequest(model_name="mill", inputs=[floats("heat", 12), kind])
    label, probability, _ = GRPCInferenceServiceStub(channel).ModelInfer(request).outputs
    assert list(label.contents.bool_contents) == [True]
    assert probability.parameters["classes"].string_param == "[false,true]"
    assert sum(probability.contents.fp32_contents) == pytest.approx(1)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (pb.ModelInferRequest(model_name="rates"), "no inputs"),
        (rates(floats("a", 1, datatype="FP64"), floats("b", 1)), "put its values into fp64_contents"),
        (rates(floats("a", 1), floats("b", 1), raw_input_contents=[b""]), "2 inputs and 1 raw_input_contents"),
        (rates(floats("a", 1), floats("b", 1), raw_input_contents=[b"", b""]), "contents beside"),
        (rates(floats("a", 1), floats("b", 1), outputs=[{"name": "x"}, {"name": "x"}]), "'x' twice"),
        (rates(pb.ModelInferRequest.InferInputTensor(name="a", datatype="FP16", shape=[1])), "raw_input_contents only"),
        (rates(pb.ModelInferRequest.InferInputTensor(name="a", datatype="FP32", shape=[2])), "0 values"),
        (rates(pb.ModelInferRequest.InferInputTensor(name="a", datatype="FP32", shape=[-1])), "which is none"),
        (rates(pb.ModelInferRequest.InferInputTensor(datatype="FP32", shape=[1])), "no name"),
    ],
)  # fmt: skip
def test_a_message_that_is_no_request_is_refused(
    channel: grpc.Channel, message: pb.ModelInferRequest, text: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        GRPCInferenceServiceStub(channel).ModelInfer(message)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert text in caught.value.details()


def test_an_error_carries_our_one_shape_and_the_request_id(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        GRPCInferenceServiceStub(channel).ModelInfer(
            rates(floats("a", 101), floats("b", 1)), metadata=(("x-request-id", "my-id"),)
        )
    trailer = dict(caught.value.trailing_metadata())
    assert trailer["x-request-id"] == "my-id"
    error = json.loads(trailer["mlops-box-error-bin"])["error"]
    assert (error["code"], error["details"][0]["rule"]) == ("contract", "a.max")
    too_many_to_tell = rates(floats("a", *[101.0] * 500), floats("b", *[1.0] * 500))
    with pytest.raises(grpc.RpcError) as caught:
        GRPCInferenceServiceStub(channel).ModelInfer(too_many_to_tell)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_health_service_and_reflection_answer(channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", SERVICE):
        found = health.Check(health_pb2.HealthCheckRequest(service=service))
        assert found.status == health_pb2.HealthCheckResponse.SERVING
    watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=WAIT_S)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()

    def ask(**fields: str) -> Any:
        request = reflection_pb2.ServerReflectionRequest(**fields)
        (answer,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([request]))
        return answer

    services = {service.name for service in ask(list_services="").list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= services
    for symbol in (SERVICE, "inference.ModelInferRequest", "grpc.health.v1.Health"):
        (data,) = ask(file_containing_symbol=symbol).file_descriptor_response.file_descriptor_proto
        assert symbol.startswith(FileDescriptorProto.FromString(data).package)


def test_messages_have_the_size_that_bodies_have(served: tuple[Box, Server], channel: grpc.Channel) -> None:
    stub = GRPCInferenceServiceStub(channel)
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(rates(raw_input_contents=[b"\0" * (9 << 20)]))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(rates(raw_input_contents=[b"\0" * (100 << 20)]), compression=grpc.Compression.Gzip)
    assert caught.value.code() in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL)
    assert stub.ServerLive(pb.ServerLiveRequest()).live


def test_calls_are_in_the_access_log_and_the_metrics(
    served: tuple[Box, Server], channel: grpc.Channel
) -> None:
    stub = GRPCInferenceServiceStub(channel)
    stub.ModelInfer(rates(floats("a", 1), floats("b", 1)), metadata=(("x-request-id", "seen"),))
    journal = served[0].home.logs / "access.log"
    deadline = time.monotonic() + WAIT_S
    while (lines := [json.loads(line) for line in journal.read_text().splitlines()]) and not [
        line for line in lines if line["request_id"] == "seen"
    ]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (line,) = [line for line in lines if line["request_id"] == "seen"]
    assert (line["protocol"], line["route"], line["status"]) == ("grpc", f"{SERVICE}/ModelInfer", 0)
    assert (line["model"], line["version"], line["rows"], line["outcome"]) == ("rates", 1, 1, "ok")
    assert 'model="rates"' in served[1].call("GET", "/metrics")[2]


def code_of(call: Any) -> grpc.StatusCode:
    try:
        call()
    except grpc.RpcError as error:
        found: grpc.StatusCode = error.code()  # type: ignore[attr-defined]
        return found
    return grpc.StatusCode.OK


def test_a_full_queue_sheds_at_once_and_serves_the_rest(tmp_path: Path) -> None:
    with open_box(tmp_path, busy=2500) as box, running(box.home.root) as server:
        stub = GRPCInferenceServiceStub(grpc.insecure_channel(server.address.grpc_target))
        with ThreadPoolExecutor(48) as threads:
            codes: set[grpc.StatusCode] = set()
            # A busy machine may send the calls too slowly to fill the queue at once.
            for _ in range(10):
                codes |= set(threads.map(lambda _: code_of(lambda: stub.ModelInfer(many(1024))), range(48)))
                if len(codes) > 1:
                    break
        assert codes == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}


def test_a_stop_finishes_what_is_under_way(tmp_path: Path) -> None:
    with open_box(tmp_path, busy=500) as box, running(box.home.root) as server:
        target = server.address.grpc_target
        with grpc.insecure_channel(target) as channel:
            stub = GRPCInferenceServiceStub(channel)
            stub.ModelInfer(many(1))
            calls = [stub.ModelInfer.future(many(1024)) for _ in range(4)]
            time.sleep(0.2)
            server.process.send_signal(signal.SIGTERM)
            assert all(len(call.result(WAIT_S).outputs) == 2 for call in calls)
        assert server.process.wait(WAIT_S) == 0
        with grpc.insecure_channel(target) as channel:
            stub = GRPCInferenceServiceStub(channel)
            assert code_of(lambda: stub.ServerLive(pb.ServerLiveRequest())) is grpc.StatusCode.UNAVAILABLE


def test_where_it_listens_is_published_and_a_taken_port_is_said_at_once(tmp_path: Path) -> None:
    with open_box(tmp_path) as box, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AssertionError, match="cannot be used for gRPC"):
            start_server(box.home.root, "--grpc-port", str(port))
        with running(box.home.root, "--no-grpc") as server:
            assert server.address.grpc_port is None
        with running(box.home.root, "--grpc-port", "0") as server:
            assert server.address.grpc_port not in (None, 0)
            with pytest.raises(AssertionError, match="cannot be used for gRPC"):
                other = open_box(tmp_path / "other")
                other.close()
                start_server(other.home.root, "--grpc-port", str(server.address.grpc_port))


def test_where_tokens_are_asked_for_grpc_asks_too(tmp_path: Path) -> None:
    with open_box(tmp_path) as box:
        _, predict = box.tokens.create("app", ["predict"])
        _, feedback = box.tokens.create("other", ["feedback"])
        with (
            running(box.home.root, "--require-token") as server,
            grpc.insecure_channel(server.address.grpc_target) as channel,
        ):
            stub = GRPCInferenceServiceStub(channel)

            def code(token: str | None) -> grpc.StatusCode:
                metadata = (("authorization", f"Bearer {token}"),) if token else ()
                return code_of(lambda: stub.ModelInfer(many(1), metadata=metadata))

            assert code(None) is grpc.StatusCode.UNAUTHENTICATED
            assert code("nonsense") is grpc.StatusCode.UNAUTHENTICATED
            assert code(feedback) is grpc.StatusCode.PERMISSION_DENIED
            assert code(predict) is grpc.StatusCode.OK
            live = code_of(lambda: stub.ServerLive(pb.ServerLiveRequest()))
            assert live is grpc.StatusCode.UNAUTHENTICATED
            found = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            assert found.status == health_pb2.HealthCheckResponse.SERVING
            reflect = reflection_pb2_grpc.ServerReflectionStub(channel)
            wish = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
            assert (
                code_of(lambda: list(reflect.ServerReflectionInfo(wish))) is grpc.StatusCode.UNAUTHENTICATED
            )


def test_the_health_service_follows_readiness(tmp_path: Path) -> None:
    with (
        open_box(tmp_path) as box,
        running(box.home.root) as server,
        grpc.insecure_channel(server.address.grpc_target) as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=WAIT_S)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        register_rate(box, 2.0, 1.0, wrong=True)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert not GRPCInferenceServiceStub(channel).ServerReady(pb.ServerReadyRequest()).ready
        register_rate(box, 3.0, 1.0)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()


def test_workers_share_the_port_and_add_up_what_they_count(tmp_path: Path) -> None:
    with open_box(tmp_path) as box, running(box.home.root, "--workers", "2") as server:
        for _ in range(8):
            # A connection of its own each time: only then the system may choose another worker.
            options = [("grpc.use_local_subchannel_pool", 1)]
            with grpc.insecure_channel(server.address.grpc_target, options) as channel:
                # The address is told once HTTP answers; a worker's gRPC may come a moment later.
                GRPCInferenceServiceStub(channel).ModelInfer(many(2), wait_for_ready=True, timeout=WAIT_S)
        page = server.call("GET", "/metrics")[2]
        rows = [line for line in page.splitlines() if line.startswith("mlops_box_rows_total{")]
        assert sum(float(line.rpartition(" ")[2]) for line in rows) == 16
        assert server.stop() == 0
