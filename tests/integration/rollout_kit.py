"""Candidates for rollouts that pass their golden rows, and fail, each in its way, on live requests: where ``a`` is above 50."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from serving_kit import RATE, RATE_PROJECT, Server, rate_model, register_projects

from mlops_box.box import Box
from mlops_box.models.golden import Golden
from mlops_box.models.values import GOLDEN_FILE, PACKED_FILE, ModelVersion, VersionDraft
from mlops_box.operations.rollout import let_in
from mlops_box.serving.rollout.states import Rollout

Kind = Literal["good", "raises", "nan", "wrong_shape", "slow", "hangs", "constant", "flipped"]
# Live rows have a between 50 and 100, b = 0 and the truth a.
ROLLOUT = """
[serve.rollout]
{stages}
step = "1s"
min_requests = 100
cooldown = "0s"
timeout = "300ms"
limits = {{ errors = "5%", latency = 3.0 }}
"""


def live_row(rng: random.Random) -> dict[str, Any]:
    return {"a": rng.uniform(50.001, 100), "b": 0.0}


def declare(box: Box, stages: str) -> None:
    register_projects(box, rates=RATE_PROJECT + ROLLOUT.format(stages=stages))


def register_champion(box: Box) -> ModelVersion:
    version = _register(box, rate_model(), [float(a) for a in range(1, 101)])
    return box.models.set_champion(version, reason="test")


def propose(box: Box, kind: Kind) -> Rollout:
    """Register a candidate of that kind and let it in, as a training would."""
    version = _register(box, candidate(kind), [float(a) for a in range(1, 50)])
    rollout = let_in(box, version, reason="test")
    assert rollout is not None
    return rollout


def _register(box: Box, packed: bytes, golden_a: list[float]) -> ModelVersion:
    golden = Golden(tuple({"a": a, "b": 0.0} for a in golden_a), prediction=tuple(golden_a))
    files = {
        PACKED_FILE: box.objects.put_bytes(packed, kind="model"),
        GOLDEN_FILE: box.objects.put_bytes(golden.to_json().encode(), kind="golden"),
    }
    draft = VersionDraft(
        "rates", "rates", "regression", True, RATE, files, {"mae": 5.0}, (), "snapshot", None
    )
    return box.models.register(draft)


def candidate(kind: Kind) -> bytes:
    """``a + b`` for rows with a <= 50; for the others what ``kind`` says."""
    if kind == "good":
        return rate_model(1.0, 1.0)
    constants = {
        "fifty": np.array(50, np.float32), "zero": np.array(0, np.float32), "axes": np.array([1], np.int64),
        "first": np.array(0, np.int64), "weights": np.ones((2, 1), np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("IsNaN", ["numeric"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "numeric"], ["filled"]),
        helper.make_node("MatMul", ["filled", "weights"], ["column"]),
        helper.make_node("Squeeze", ["column", "axes"], ["sum"]),
        helper.make_node("Gather", ["filled", "first"], ["a"], axis=1),
        helper.make_node("Greater", ["a", "fifty"], ["live"]),
    ]
    more, extra = _POISON[kind]()
    graph = helper.make_graph(
        nodes + more,
        "hand-made",
        [helper.make_tensor_value_info("numeric", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["m"])],
        [numpy_helper.from_array(value, name) for name, value in {**constants, **extra}.items()],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    return bytes(model.SerializeToString())


Poison = tuple[list[Any], dict[str, Any]]


def _value(value: float) -> Poison:
    return [helper.make_node("Where", ["live", "value", "sum"], ["prediction"])], {
        "value": np.array(value, np.float32)
    }


def _raises() -> Poison:
    """An index beyond the table: onnxruntime refuses when it happens."""
    return [
        helper.make_node("Cast", ["live"], ["index"], to=TensorProto.INT64),
        helper.make_node("Mul", ["index", "far"], ["beyond"]),
        helper.make_node("Gather", ["table", "beyond"], ["nothing"]),
        helper.make_node("Add", ["sum", "nothing"], ["prediction"]),
    ], {"far": np.array(1000, np.int64), "table": np.zeros(2, np.float32)}


def _wrong_shape() -> Poison:
    """Live rows are missing in the answer."""
    return [
        helper.make_node("Not", ["live"], ["kept"]),
        helper.make_node("Compress", ["sum", "kept"], ["prediction"], axis=0),
    ], {}


def _flipped() -> Poison:
    """Large is small and small is large, and all together look the same."""
    return [
        helper.make_node("Sub", ["both", "sum"], ["mirrored"]),
        helper.make_node("Where", ["live", "mirrored", "sum"], ["prediction"]),
    ], {"both": np.array(150, np.float32)}


def _looping(rounds: int) -> Poison:
    """So many useless rounds for a live row."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["still"]),
            helper.make_node("Sin", ["before"], ["after"]),
        ],
        "round",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, []),
        ],
    )
    return [
        helper.make_node("Cast", ["live"], ["index"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["index"], ["any"], keepdims=0),
        helper.make_node("Mul", ["any", "rounds"], ["trips"]),
        helper.make_node("Loop", ["trips", "yes", "one"], ["spun"], body=body),
        helper.make_node("Mul", ["spun", "zero"], ["nothing"]),
        helper.make_node("Add", ["sum", "nothing"], ["prediction"]),
    ], {"rounds": np.array(rounds, np.int64), "yes": np.array(True), "one": np.array(1, np.float32)}


_POISON: dict[str, Callable[[], Poison]] = {
    "raises": _raises,
    "nan": lambda: _value(float("nan")),
    "wrong_shape": _wrong_shape,
    "slow": lambda: _looping(20_000),
    "hangs": lambda: _looping(2_000_000_000),
    "constant": lambda: _value(60.0),
    "flipped": _flipped,
}


@dataclass
class Load:
    """Clients that ask a server all the time.

    Attributes:
        wrong: Requests that were not answered, or with another number than one of the two versions would give.
        by: Requests answered, by version.
    """

    server: Callable[[], Server]
    truth: bool = False
    answered: int = 0
    wrong: list[str] = field(default_factory=list)
    by: Counter[str] = field(default_factory=Counter)
    _stop: threading.Event = field(default_factory=threading.Event)
