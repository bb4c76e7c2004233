"""Candidates for rollouts that pass their golden rows, and fail, each in its way, on live requests: where ``a`` is above 50."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
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


class Load:
    """Clients that ask ``rates`` all the time, and know the right answer of either version.

    Args:
        server: The server to ask; it may be another after a restart.
        kind: Of the first candidate.
        truth: Tell the truth of every answer right away.
        forgiving: The server may be away.

    Attributes:
        answered: Requests, by the version that answered.
        failed: What was not answered, or wrongly.
    """

    def __init__(
        self,
        server: Callable[[], Server],
        *,
        kind: Kind = "good",
        clients: int = 4,
        pause_s: float = 0.002,
        truth: bool = False,
        forgiving: bool = False,
    ):
        self._server = server
        self._kinds: dict[str, Kind] = {}
        self._next = kind
        self._pause_s = pause_s
        self.truth = truth
        self._forgiving = forgiving
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(clients)]
        self.answered: Counter[str] = Counter()
        self.failed: list[str] = []

    def expect(self, kind: Kind) -> None:
        """The next version that answers is of this kind."""
        self._next = kind

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        rng = random.Random(number)
        connection: Any = None
        while not self._stop.is_set():
            row = live_row(rng)
            try:
                connection = connection or self._server().connect()
                status, body = self._post(connection, "/models/rates/predict", {"rows": [row]})
                if status == 200 and self.truth:
                    truth = [{"id": body["ids"][0], "value": row["a"]}]
                    self._post(connection, "/models/rates/feedback", {"truth": truth})
            except (OSError, http.client.HTTPException) as error:
                connection = None
                self._note_failure(repr(error))
            else:
                self._check(status, body, row)
            time.sleep(self._pause_s)
        if connection is not None:
            connection.close()

    def _post(self, connection: Any, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())

    def _check(self, status: int, body: Any, row: dict[str, Any]) -> None:
        if status != 200:
            self._note_failure(f"{status}: {body}")
            return
        right = row["a"]
        if body["model"] != "rates@1":
            kind = self._kinds.setdefault(body["model"], self._next)
            right = {"constant": 60.0, "flipped": 150.0 - row["a"]}.get(kind, right)
        (found,) = body["predictions"]
        if found is None or abs(found - right) > 1e-3:
            self._note_failure(f"{body['model']} answered {found} for {row}")
        with self._lock:
            self.answered[body["model"]] += 1

    def _note_failure(self, text: str) -> None:
        if not self._forgiving:
            with self._lock:
                self.failed.append(text)
