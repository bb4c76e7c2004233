"""On which device a model answers: what is declared, what is there, and the CPU whenever in doubt.

No GPU is needed: sessions come from a factory that runs the real graph on the CPU and says what it is told to say. The
last test wants a real GPU.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest

from mlops_box.models.devices import (
    CUDA_PROVIDER,
    Device,
    Wanted,
    gpu_missing,
    missing_for_cuda,
    open_model,
)
from mlops_box.models.encode import encode_rows
from mlops_box.models.golden import Golden
from mlops_box.models.runtime import CPU_PROVIDER
from tests.integration.serving_kit import RATE, rate_model

GOLDEN = Golden(({"a": 1.0, "b": 2.0}, {"a": 3.0, "b": None}), prediction=(3.0, 3.0))
PACKED = rate_model()


class FakeSession:
    """A real session on the CPU that claims to run where it was asked to, and may answer otherwise."""

    def __init__(
        self, packed: bytes, options: Any, providers: list[Any], claim: str, change: Callable[[Any], Any]
    ):
        self._session = onnxruntime.InferenceSession(packed, options, providers=[CPU_PROVIDER])
        self._claim = claim
        self._change = change
        self.get_inputs = self._session.get_inputs
        self.get_outputs = self._session.get_outputs

    def get_providers(self) -> list[str]:
        return [self._claim, CPU_PROVIDER]

    def run(self, names: Any, feed: Any, options: Any = None) -> list[Any]:
        answers = self._session.run(names, feed, options)
        return [self._change(answer) for answer in answers] if self._claim == CUDA_PROVIDER else answers


class Machine:
    """Makes sessions and remembers with which providers."""

    def __init__(
        self,
        *,
        claims: str = CUDA_PROVIDER,
        change: Callable[[Any], Any] = lambda answer: answer,
        fails: Exception | None = None,
    ):
        self._claims = claims
        self._change = change
        self._fails = fails
        self.asked: list[list[Any]] = []

    def __call__(self, packed: bytes, options: Any, providers: list[Any]) -> FakeSession:
        self.asked.append(providers)
        on_gpu = providers[0] != CPU_PROVIDER
        if on_gpu and self._fails is not None:
            raise self._fails
        return FakeSession(packed, options, providers, self._claims if on_gpu else CPU_PROVIDER, self._change)


def opened(
    wanted: Wanted, machine: Machine, *, lack: str | None = None, seconds: list[float] | None = None
) -> Device:
    readings = iter(seconds or [])
    model, device = open_model(
        PACKED,
        RATE,
        GOLDEN,
        wanted,
        missing=lambda: lack,
        make_session=machine,
        timer=(lambda: next(readings)) if seconds is not None else (lambda: 0.0),
    )
    assert model.provider == (CUDA_PROVIDER if device.used == "cuda" else CPU_PROVIDER)
    prediction = model.predict(encode_rows(GOLDEN.rows, RATE)).prediction
    assert prediction is not None
    assert np.allclose(prediction, [3.0, 3.0])
    return device


def test_a_declared_gpu_that_is_there_and_agrees_is_used() -> None:
    machine = Machine()
    assert opened("cuda", machine) == Device("cuda", "cuda")
    (name, options), fallback = machine.asked[-1]
    assert (name, fallback) == (CUDA_PROVIDER, CPU_PROVIDER)
    assert options["use_tf32"] == "0"


def test_the_cpu_is_used_without_a_look_at_the_gpu_where_it_is_declared() -> None:
    machine = Machine()
    assert opened("cpu", machine, lack="not looked at") == Device("cpu", "cpu")
    assert machine.asked == [[CPU_PROVIDER]]


def test_a_declared_gpu_that_lacks_something_falls_back_and_says_what() -> None:
    device = opened("cuda", Machine(), lack="there is no NVIDIA driver")
    assert device == Device("cuda", "cpu", "there is no NVIDIA driver")
    assert device.fell_back
    assert not opened("auto", Machine(), lack="there is no NVIDIA driver").fell_back


@pytest.mark.parametrize("wanted", ["auto", "cuda"])
@pytest.mark.parametrize(
    ("machine", "says"),
    [
        (Machine(change=lambda answer: answer + 0.5), "differ from the CPU's by up to 0.5"),
        (Machine(change=lambda answer: answer * np.float32("nan")), "differ from the CPU's"),
        (Machine(claims=CPU_PROVIDER), "could not load its CUDA libraries"),
        (Machine(fails=RuntimeError("CUDA failure 2: out of memory\nat somewhere")), "out of memory"),
    ],
)
def test_a_gpu_that_answers_otherwise_or_not_at_all_is_not_used(
    wanted: Wanted, machine: Machine, says: str
) -> None:
    device = opened(wanted, machine)
    assert device.used == "cpu"
    assert device.note is not None
    assert says in device.note
    assert "\n" not in device.note


def readings(cpu_s: float, gpu_s: float) -> list[float]:
    """A timer's readings for five calls on each device."""
    return [reading for took in (cpu_s, gpu_s) for _ in range(5) for reading in (0.0, took)]


def test_auto_takes_the_faster_device_and_cuda_does_not_ask() -> None:
    assert opened("auto", Machine(), seconds=readings(0.010, 0.002)) == Device("auto", "cuda")
    slower = opened("auto", Machine(), seconds=readings(0.0001, 0.002))
    assert slower.used == "cpu"
    assert slower.note == "the CPU is faster for this model: 0.10 ms against 2.00 ms for 256 rows"
    assert opened("cuda", Machine(), seconds=[]) == Device("cuda", "cuda")


class Driver:
    """NVIDIA's library, as far as it is asked."""

    def __init__(self, *, init: int = 0, devices: int = 1):
        self._init = init
        self._devices = devices

    def cuInit(self, flags: int) -> int:
        return self._init

    def cuDeviceGetCount(self, count: Any) -> int:
        ctypes.cast(count, ctypes.POINTER(ctypes.c_int))[0] = self._devices
        return 0


def test_the_driver_is_asked_for_a_gpu() -> None:
    def absent(name: str) -> Any:
        raise OSError(name)

    assert gpu_missing(lambda name: Driver()) is None
    assert "sees no GPU" in str(gpu_missing(lambda name: Driver(devices=0)))
    assert "sees no GPU" in str(gpu_missing(lambda name: Driver(init=100)))
    assert gpu_missing(absent) == "there is no NVIDIA driver (libcuda.so.1)"


@pytest.mark.skipif(
    CUDA_PROVIDER in onnxruntime.get_available_providers(), reason="this onnxruntime knows CUDA"
)
def test_an_onnxruntime_without_cuda_is_named_with_what_to_install() -> None:
    lack = missing_for_cuda()
    assert lack is not None
    assert "pip install onnxruntime-gpu" in lack
    model, device = open_model(PACKED, RATE, GOLDEN, "cuda")
    assert (device, model.provider) == (Device("cuda", "cpu", lack), CPU_PROVIDER)


@pytest.mark.skipif(missing_for_cuda() is not None, reason=f"no usable GPU: {missing_for_cuda()}")
def test_a_real_gpu_answers_as_the_cpu_does() -> None:
    model, device = open_model(PACKED, RATE, GOLDEN, "cuda")
    assert (device, model.provider) == (Device("cuda", "cuda"), CUDA_PROVIDER)
    prediction = model.predict(encode_rows(GOLDEN.rows, RATE)).prediction
    assert prediction is not None
    assert np.allclose(prediction, [3.0, 3.0])
