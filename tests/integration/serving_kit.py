"""A small box with models made by hand, and a real server process in front of it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from mlops_box.box import Box
from mlops_box.models.golden import Golden
from mlops_box.models.values import GOLDEN_FILE, PACKED_FILE, Feature, ModelVersion, Signature, VersionDraft
from mlops_box.project import LoadedProject, parse_project
from mlops_box.serving.address import ServerAddress
from tests.integration.http_kit import ServerProcess, Told

SERVICES = Path(__file__).parents[2] / "services"
RATE = Signature("regression", "rate", (Feature("a", "numeric", "double"), Feature("b", "numeric", "double")))
FAILS = Signature(
    "binary",
    "fails",
    (Feature("heat", "numeric", "double"), Feature("kind", "categorical", "varchar", ("l", "m"))),
    (False, True),
)
RATE_PROJECT = """
[project]
name = "rates"
[data]
source = "rates.csv"
time = "at"
[data.contract]
at = { type = "timestamp" }
shift = { type = "varchar", null = true }
a = { type = "double", min = 0, max = 100 }
b = { type = "double", null = true }
[model]
task = "regression"
target = "rate"
features = ["a", "b"]
"""
FAILS_PROJECT = """
[project]
name = "mill"
[data]
source = "mill.csv"
[data.contract]
heat = { type = "double", min = 0 }
kind = { type = "varchar", in = ["l", "m"] }
[model]
task = "binary"
target = "fails"
features = ["heat", "kind"]
"""


def rate_model(weight_a: float = 1.0, weight_b: float = 1.0, *, busy: int = 0) -> bytes:
    """``a * weight_a + b * weight_b``, missing values counting as zero; ``busy`` adds useless large products."""
    weights = numpy_helper.from_array(np.array([[weight_a], [weight_b]], dtype=np.float32), "weights")
    zero = numpy_helper.from_array(np.array(0, dtype=np.float32), "zero")
    axes = numpy_helper.from_array(np.array([1], dtype=np.int64), "axes")
    nodes = [
        helper.make_node("IsNaN", ["numeric"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "numeric"], ["filled"]),
        helper.make_node("MatMul", ["filled", "weights"], ["column"]),
    ]
    constants = [weights, zero, axes]
    last = "column"
    if busy:
        square = np.zeros((busy, busy), dtype=np.float32)
        wide = np.zeros((1, busy), dtype=np.float32)
        constants += [numpy_helper.from_array(square, "square"), numpy_helper.from_array(wide, "wide")]
        constants += [numpy_helper.from_array(wide.T.copy(), "narrow")]
        nodes += [
            helper.make_node("MatMul", ["column", "wide"], ["w0"]),
            helper.make_node("MatMul", ["w0", "square"], ["w1"]),
            helper.make_node("MatMul", ["w1", "square"], ["w2"]),
            helper.make_node("MatMul", ["w2", "narrow"], ["nothing"]),
            helper.make_node("Add", ["column", "nothing"], ["sum"]),
        ]
        last = "sum"
    nodes.append(helper.make_node("Squeeze", [last, "axes"], ["prediction"]))
    return _model(nodes, constants, {"numeric": (TensorProto.FLOAT, 2)}, {"prediction": TensorProto.FLOAT})


def fails_model() -> bytes:
    """Probability of failure ``sigmoid(heat - 10 + (kind == "m"))``."""
    constants = [
        numpy_helper.from_array(np.array(10, dtype=np.float32), "ten"),
        numpy_helper.from_array(np.array(1, dtype=np.float32), "one"),
        numpy_helper.from_array(np.array(0.5, dtype=np.float32), "half"),
        numpy_helper.from_array(np.array([1], dtype=np.int64), "axes"),
    ]
    nodes = [
        helper.make_node(
            "LabelEncoder",
            ["text"],
            ["code"],
            domain="ai.onnx.ml",
            keys_strings=["m"],
            values_floats=[1.0],
            default_float=0.0,
        ),
        helper.make_node("Sub", ["numeric", "ten"], ["shifted"]),
        helper.make_node("Add", ["shifted", "code"], ["score"]),
        helper.make_node("Sigmoid", ["score"], ["p1"]),
        helper.make_node("Sub", ["one", "p1"], ["p0"]),
        helper.make_node("Concat", ["p0", "p1"], ["probability"], axis=1),
        helper.make_node("Greater", ["p1", "half"], ["over"]),
        helper.make_node("Cast", ["over"], ["label2d"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["label2d", "axes"], ["label"]),
    ]
    inputs = {"numeric": (TensorProto.FLOAT, 1), "text": (TensorProto.STRING, 1)}
    return _model(nodes, constants, inputs, {"label": TensorProto.INT64, "probability": TensorProto.FLOAT})


def _model(nodes: Any, constants: Any, inputs: dict[str, tuple[int, int]], outputs: dict[str, int]) -> bytes:
    shapes = {"prediction": ["n"], "label": ["n"], "probability": ["n", "c"]}
    graph = helper.make_graph(
        nodes,
        "hand-made",
        [helper.make_tensor_value_info(name, kind, ["n", width]) for name, (kind, width) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shapes[name]) for name, kind in outputs.items()],
        constants,
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return bytes(helper.make_model(graph, ir_version=8, opset_imports=opsets).SerializeToString())


def register_rate(
    box: Box,
    weight_a: float = 1.0,
    weight_b: float = 1.0,
    *,
    wrong: bool = False,
    promote: bool = True,
    busy: int = 0,
) -> ModelVersion:
    """A version of ``rates``; ``wrong`` gives it golden rows that its model does not answer."""
    rows = ({"a": 1.0, "b": 2.0}, {"a": 3.0, "b": None})
    right = (weight_a + 2 * weight_b, 3 * weight_a)
    golden = Golden(rows, prediction=tuple(value + wrong for value in right))
    return _register(box, "rates", RATE, rate_model(weight_a, weight_b, busy=busy), golden, promote)


def register_fails(box: Box) -> ModelVersion:
    rows = ({"heat": 10.0, "kind": "l"},)
    return _register(box, "mill", FAILS, fails_model(), Golden(rows, probability=((0.5, 0.5),)), True)


def _register(
    box: Box, name: str, signature: Signature, packed: bytes, golden: Golden, promote: bool
) -> ModelVersion:
    files = {
        PACKED_FILE: box.objects.put_bytes(packed, kind="model"),
        GOLDEN_FILE: box.objects.put_bytes(golden.to_json().encode(), kind="golden"),
    }
    draft = VersionDraft(name, name, signature.task, True, signature, files, {}, (), "snapshot", None)
    version = box.models.register(draft)
    return box.models.set_champion(version, reason="test") if promote else version


def register_projects(box: Box, *, rates: str = RATE_PROJECT) -> None:
    for text in (rates, FAILS_PROJECT):
        box.projects.register(LoadedProject(box.home.root, parse_project(text)))


class Server(ServerProcess):
    """A box's running server."""

    def __init__(self, home: Path, process: subprocess.Popen[bytes], address: ServerAddress):
        super().__init__(process, address.host, address.port)
        self.home = home
        self.address = address

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Told:
        """(status, headers, JSON or text) of one request on a connection of its own."""
        status, found, content = super().call(method, path, body, headers)
        return status, found, content.decode() if isinstance(content, bytes) else content


def environment(more: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of a process that finds our packages."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(SERVICES.parent), str(SERVICES)]),
        **(more or {}),
    }


def start_server(
    home: Path, *options: str, environ: dict[str, str] | None = None, timeout_s: float = 60.0
) -> Server:
    """Start ``python -m mlops_box_services`` on a free port and wait for its address."""
    command = [sys.executable, "-m", "mlops_box_services", "--home", str(home), "--port", "0", *options]
    with (home / "logs" / "server.log").open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment(environ))
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        address = ServerAddress.read(home / "run")
        if address is not None and address.pid == process.pid:
            return Server(home, process, address)
        if process.poll() is not None:
            break
        time.sleep(0.02)
    process.kill()
    process.wait()
    raise AssertionError(f"the server did not start:\n{(home / 'logs' / 'server.log').read_text()[-4000:]}")


@contextlib.contextmanager
def running(home: Path, *options: str, environ: dict[str, str] | None = None) -> Iterator[Server]:
    server = start_server(home, *options, environ=environ)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()
