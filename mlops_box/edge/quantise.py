"""int8: weights and activations of matrix products in 8 bits, where that pays and harms nothing.

Dynamic quantisation of onnxruntime. It is used only if the graph is smaller, faster on this machine, answers its golden
rows within :data:`TOLERANCE_FACTOR` times their tolerance, and loses nothing that counts on the held-out rows.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from mlops_box.errors import BoxError, UsageError
from mlops_box.evaluation.evaluate import answer
from mlops_box.evaluation.metrics import better_by, compute_metrics
from mlops_box.models.encode import Tensors, encode_rows
from mlops_box.models.golden import Golden, check_golden
from mlops_box.models.runtime import OnnxModel
from mlops_box.models.values import Signature

TOLERANCE_FACTOR = 200.0  # 1e-4 becomes 2e-2, in the same units: of a probability, or of the target's spread
ALLOWED_LOSS = 0.01  # of the metric that this project cares about most, relative
_ROUNDS = 15
_CALLS = 40
Timer = Callable[[], float]


@dataclass(frozen=True)
class Int8Report:
    """Whether int8 is used, why, and what was measured.

    Attributes:
        float32_us: Microseconds of one row, best of the rounds; ``None`` where it was not timed.
        float32_metric: The metric on the held-out rows; ``None`` where it was not computed.
    """

    used: bool
    reason: str
    float32_bytes: int
    int8_bytes: int | None = None
    float32_us: float | None = None
    int8_us: float | None = None
    metric: str | None = None
    float32_metric: float | None = None
    int8_metric: float | None = None


def quantised(packed: bytes) -> bytes:
    """``packed`` with its matrix products in int8; repeatable byte for byte with one onnxruntime.

    Raises:
        UsageError: onnxruntime cannot quantise the graph.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        level = logging.root.manager.disable
        # It warns, through the root logger, of a preprocessing that changes nothing here.
        logging.disable(logging.WARNING)
        try:
            # Seven bits: on processors without VNNI the sum of two full products saturates, and answers would differ
            # from one device to the next.
            quantize_dynamic(
                onnx.load_model_from_string(packed), target, op_types_to_quantize=["MatMul", "Gemm"],
                weight_type=QuantType.QInt8, reduce_range=True,
            )  # fmt: skip
            return target.read_bytes()
        except (ValueError, RuntimeError, AttributeError, OSError) as error:
            raise UsageError(f"onnxruntime cannot quantise the graph: {error}") from error
        finally:
            logging.disable(level)


def loosened(golden: Golden) -> Golden:
    """The golden rows with the tolerance of int8; expected are still the trained model's own answers."""
    return replace(golden, atol=golden.atol * TOLERANCE_FACTOR, rtol=golden.rtol * TOLERANCE_FACTOR)


def judge_int8(
    packed: bytes,
    signature: Signature,
    golden: Golden,
    held_out: pa.Table,
    *,
    metric: str,
    timer: Timer = time.perf_counter,
) -> tuple[Int8Report, bytes]:
    """(the verdict, the graph to carry: int8 where it is used, else ``packed``).

    Args:
        held_out: Rows that the model did not learn from, with their targets.
        metric: The metric that must not suffer.
    """
    report = Int8Report(False, "", len(packed))
    try:
        graph = quantised(packed)
        report = replace(report, int8_bytes=len(graph))
        if len(graph) >= len(packed):
            smaller = f"int8 is no smaller ({len(graph)} bytes against {len(packed)}): it has no large matrix products"
            return replace(report, reason=smaller), packed
        models = (OnnxModel(packed, signature), OnnxModel(graph, signature))
        report = _timed(report, models, encode_rows(golden.rows[:1], signature), timer)
        report = _measured(report, models, held_out, metric)
        reason = _against(report, check_golden(models[1], loosened(golden)))
    except BoxError as error:
        return replace(report, reason=f"int8 does not run: {error.message}"), packed
    if reason is not None:
        return replace(report, reason=reason), packed
    won = f"{len(packed)} to {len(graph)} bytes, {report.float32_us:.1f} to {report.int8_us:.1f} µs a row"
    told = f"{metric} {report.float32_metric:.5g} to {report.int8_metric:.5g}"
    return replace(report, used=True, reason=f"smaller and faster here ({won}), {told}"), graph


def _against(report: Int8Report, golden_problems: list[str]) -> str | None:
    """Why not; ``None`` where nothing speaks against it."""
    if report.float32_us is None or report.int8_us is None or report.int8_us >= report.float32_us:
        return (
            f"int8 is not faster on this machine ({report.float32_us:.1f} to {report.int8_us:.1f} µs a row)"
        )
    if golden_problems:
        return f"int8 answers otherwise: {golden_problems[0]}"
    before, after = report.float32_metric, report.int8_metric
    if before is None or after is None or report.metric is None:
        return f"the held-out rows cannot tell {report.metric}: whether int8 loses anything is not known"
    lost = -better_by(report.metric, after, before)
    if not lost <= ALLOWED_LOSS * abs(before):
        return f"int8 loses too much on the held-out rows: {report.metric} {before:.5g} to {after:.5g}"
    return None


def _timed(report: Int8Report, models: tuple[OnnxModel, OnnxModel], row: Tensors, timer: Timer) -> Int8Report:
    """With the best time of one row of each; taken in turns, so that a busy machine hurts both alike."""
    best = [float("inf"), float("inf")]
    for _ in range(_ROUNDS):
        for place, model in enumerate(models):
            started = timer()
            for _ in range(_CALLS):
                model.predict(row)
            best[place] = min(best[place], (timer() - started) / _CALLS)
    return replace(report, float32_us=best[0] * 1e6, int8_us=best[1] * 1e6)


def _measured(
    report: Int8Report, models: tuple[OnnxModel, OnnxModel], held_out: pa.Table, metric: str
) -> Int8Report:
    values = []
    for model in models:
        answers = answer(model, held_out)
        signature = model.signature
        found = compute_metrics(
            signature.task, truth=answers.truth, output=answers.output, classes=signature.classes
        )
        values.append(found.get(metric))
    return replace(report, metric=metric, float32_metric=values[0], int8_metric=values[1])
