"""On which device a model answers: the GPU where it is declared, there, and gives the CPU's answers; else the CPU.

Whatever is missing or goes wrong with the GPU is a note in words, never a refusal: the CPU can always answer.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mlops_box.errors import BoxError
from mlops_box.models.encode import Tensors, concatenate, encode_rows
from mlops_box.models.golden import Golden
from mlops_box.models.runtime import CPU_PROVIDER, MakeSession, OnnxModel, Output, Provider
from mlops_box.models.values import Signature

Wanted = Literal["auto", "cpu", "cuda"]
CUDA_PROVIDER = "CUDAExecutionProvider"
# TensorFloat-32 rounds products to ten bits: its answers would not be the CPU's. Memory grows by what is asked for, since
# the GPU is shared with trainings.
CUDA: tuple[Provider, ...] = (
    (CUDA_PROVIDER, {"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}),
    CPU_PROVIDER,
)
_TIMED_ROWS = 256
_TIMING_ROUNDS = 5


@dataclass(frozen=True)
class Device:
    """Where a model runs.

    Attributes:
        wanted: As declared.
        used: Where it runs.
        note: Why it does not run where it might; ``None`` when there is nothing to say.
    """

    wanted: Wanted
    used: Literal["cpu", "cuda"]
    note: str | None = None

    @property
    def fell_back(self) -> bool:
        """The GPU was declared, and it is the CPU."""
        return self.wanted == "cuda" and self.used == "cpu"


def open_model(
    packed: bytes,
    signature: Signature,
    golden: Golden,
    wanted: Wanted,
    *,
    missing: Callable[[], str | None] | None = None,
    make_session: MakeSession | None = None,
    timer: Callable[[], float] = time.perf_counter,
) -> tuple[OnnxModel, Device]:
    """The model, loaded where it is wanted if that is possible.

    Args:
        golden: Rows on which the GPU must give the CPU's answers, within their tolerance.
        missing: Says what the GPU lacks; ``None``: :func:`missing_for_cuda`.

    Raises:
        IntegrityError: It cannot be loaded at all, see :class:`OnnxModel`.
    """
    on_cpu = OnnxModel(packed, signature, make_session=make_session)
    if wanted == "cpu":
        return on_cpu, Device(wanted, "cpu")
    lack = (missing or missing_for_cuda)()
    if lack is not None:
        return on_cpu, Device(wanted, "cpu", lack)
    try:
        on_gpu = OnnxModel(packed, signature, providers=CUDA, make_session=make_session)
        if on_gpu.provider != CUDA_PROVIDER:
            lack = "onnxruntime could not load its CUDA libraries (cuDNN and the CUDA runtime of its release)"
            return on_cpu, Device(wanted, "cpu", lack)
        note = _compare(on_cpu, on_gpu, golden, timer if wanted == "auto" else None)
    except BoxError as error:
        note = f"the GPU cannot run the model: {error.message}"
    if note is not None:
        return on_cpu, Device(wanted, "cpu", note)
    return on_gpu, Device(wanted, "cuda")


def missing_for_cuda() -> str | None:
    """What is missing to run models on a GPU, and what to do; ``None`` when all is there."""
    import onnxruntime

    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        lack = gpu_missing()
        package = (
            f"the installed onnxruntime {onnxruntime.__version__} runs on the CPU only: "
            "`pip uninstall onnxruntime`, then `pip install onnxruntime-gpu`"
        )
        return package if lack is None else f"{lack}; and {package}"
    lack = gpu_missing()
    if lack is None and hasattr(onnxruntime, "preload_dlls"):
        # CUDA and cuDNN from NVIDIA's wheels are on no path that the loader knows.
        onnxruntime.preload_dlls()
    return lack


def gpu_missing(load: Callable[[str], Any] = ctypes.CDLL) -> str | None:
    """Whether the NVIDIA driver sees a GPU; in words what it lacks, ``None`` when it does.

    Args:
        load: Loads a shared library.
    """
    try:
        driver = load("libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver (libcuda.so.1)"
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value < 1:
        return "the NVIDIA driver sees no GPU (try nvidia-smi)"
    return None


def _compare(
    on_cpu: OnnxModel, on_gpu: OnnxModel, golden: Golden, timer: Callable[[], float] | None
) -> str | None:
    """Why not to use the GPU: it answers otherwise, or, with a ``timer``, later."""
    rows = encode_rows(golden.rows, on_cpu.signature)
    expected, answered = _numbers(on_cpu.predict(rows)), _numbers(on_gpu.predict(rows))
    gap = np.abs(answered - expected)
    # Written so that NaN counts as different.
    if not np.all(gap <= golden.atol + golden.rtol * np.abs(expected)):
        return f"its answers on the GPU differ from the CPU's by up to {np.max(gap):.3g}, more than allowed"
    if timer is None or not golden.rows:
        return None
    batch = concatenate([rows] * -(-_TIMED_ROWS // rows.rows))
    cpu_s, gpu_s = (_best(model, batch, timer) for model in (on_cpu, on_gpu))
    if gpu_s >= cpu_s:
        return f"the CPU is faster for this model: {cpu_s * 1000:.2f} ms against {gpu_s * 1000:.2f} ms for {batch.rows} rows"
    return None


def _numbers(output: Output) -> np.ndarray[Any, np.dtype[np.float64]]:
    part = output.prediction if output.prediction is not None else output.probability
    return np.asarray(part, dtype=np.float64)


def _best(model: OnnxModel, batch: Tensors, timer: Callable[[], float]) -> float:
    """Seconds of the fastest of a few calls; the first, which may compile and allocate, does not count."""
    model.predict(batch)
    found: Sequence[float] = [_timed(model, batch, timer) for _ in range(_TIMING_ROUNDS)]
    return min(found)


def _timed(model: OnnxModel, batch: Tensors, timer: Callable[[], float]) -> float:
    started = timer()
    model.predict(batch)
    return timer() - started
