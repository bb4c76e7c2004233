"""Trains a torch recipe on the feature matrix and turns the network into a graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mlops_box.canonical import digest_of, sha256_hex
from mlops_box.errors import BoxError, TrainingError
from mlops_box.models.encode import Float32
from mlops_box.models.runtime import Output
from mlops_box.progress import Progress
from mlops_box.project import Model
from mlops_box.training.checkpoint import CheckpointFile
from mlops_box.training.gpu import gpu_lease
from mlops_box.training.graph import OPSET, Core
from mlops_box.training.inputs import Target
from mlops_box.training.recipe import TorchRecipe
from mlops_box.training.sklearn_fit import FittedCore
from mlops_box.training.threads import thread_count
from mlops_box.training.torch_loop import TrainingLoop, check_output, seeded_torch
from mlops_box.training.user_code import explain_failure
from mlops_box.training.watch import EpochWatch

_PREDICT_ROWS = 8192
# More than one, so that the exporter does not take the number of rows for a constant.
_EXAMPLE_ROWS = 4


def fit_torch(
    recipe: TorchRecipe,
    matrix: Float32,
    target: Target,
    model: Model,
    *,
    folder: Path,
    progress: Progress,
    watch: EpochWatch | None = None,
    checkpoints: Path | None = None,
    device: str = "auto",
    gpu_lock: Path | None = None,
) -> FittedCore:
    """Train a network; a killed training of the same data, code, parameters and seed goes on from its checkpoint.

    Raises:
        TrainingError: torch or the GPU is missing, the network fails, or it cannot be exported.
        BusyError: The GPU is held by another training for too long.
        StorageError: A checkpoint cannot be written.
    """
    _import_torch()
    place = _device(device)
    root = folder.resolve()
    file = None
    if checkpoints is not None:
        file = CheckpointFile(checkpoints, _fingerprint(recipe, matrix, target, model, root, place))
    with gpu_lease(gpu_lock if place == "cuda" else None, progress=progress), seeded_torch(model.seed, place):
        try:
            return _fit(recipe, matrix, target, model.seed, place, file, progress, watch)
        except BoxError:
            raise
        except Exception as error:
            hint = "lower batch_size" if "out of memory" in str(error) else None
            raise TrainingError(
                f"the network cannot be trained: {explain_failure(error, root)}", hint=hint
            ) from error


def _fit(
    recipe: TorchRecipe,
    matrix: Float32,
    target: Target,
    seed: int,
    device: str,
    checkpoints: CheckpointFile | None,
    progress: Progress,
    watch: EpochWatch | None,
) -> FittedCore:
    outputs = len(target.classes) if target.classes is not None else 1
    network = _network(recipe, matrix.shape[1], outputs).to(device)
    answers, mean, deviation = _answers(target, recipe)
    loop = TrainingLoop(network, recipe, matrix, answers, seed=seed, device=device, checkpoints=checkpoints)
    result = loop.run(progress=progress, watch=watch)
    whole = _whole(network.cpu().eval(), mean, deviation)
    progress.begin("export network")
    core = export_network(whole, matrix.shape[1], outputs, is_regression=target.classes is None)
    progress.end()
    facts = {
        "trainer": "torch", "device": _device_name(device), "precision": loop.precision,
        "epochs": result.epochs, "best_epoch": result.best_epoch, "resumed_after": result.resumed_after,
        "threads": thread_count(),
        "losses": result.history,
    }  # fmt: skip
    return FittedCore(core, _predictor(whole, is_regression=target.classes is None), (), facts)


def export_network(network: Any, width: int, outputs: int, *, is_regression: bool) -> Core:
    """The graph of a network in evaluation mode.

    Only torch's graph-capturing exporter is used: the older one bakes one branch of data-dependent code into the model
    without an error.

    Raises:
        TrainingError: The network cannot be captured.
    """
    import logging

    import torch

    example = torch.zeros((_EXAMPLE_ROWS, width), dtype=torch.float32)
    with torch.no_grad():
        answer = network(example)
    check_output(answer, _EXAMPLE_ROWS)
    if answer.shape[1] != outputs:
        raise TrainingError(
            f"the network gives {answer.shape[1]} outputs, {outputs} are needed",
            hint="build it by a function of (inputs, outputs)",
        )
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network, (example,), input_names=["features"], output_names=["answer"], opset_version=OPSET,
                dynamic_shapes=({0: torch.export.Dim("rows")},), dynamo=True, external_data=False, verbose=False,
            )  # fmt: skip
    except torch.onnx.OnnxExporterError as error:
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        raise TrainingError(
            f"the network cannot be exported to ONNX: {reason}",
            hint="its forward must not branch on values, nor depend on the number of rows",
        ) from error
    finally:
        quiet.setLevel(level)
    model = program.model_proto
    if model.functions:
        import onnx.inliner

        model = onnx.inliner.inline_local_functions(model)
    return Core(model, "answer", "identity" if is_regression else "softmax")


def _import_torch() -> None:
    try:
        import onnxscript  # noqa: F401
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise TrainingError(
            f"{error.name} is not installed, which this project trains with",
            hint="pip install 'mlops-box[torch]'",
        ) from error


def _device(wanted: str) -> str:
    import torch

    if wanted not in ("auto", "cpu", "cuda"):
        raise TrainingError(f"there is no device {wanted!r}", hint="auto, cpu or cuda")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise TrainingError(
            "torch finds no GPU on this machine",
            hint='device = "auto" or "cpu" under [model]; or mend the driver (nvidia-smi)',
        )
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def _device_name(device: str) -> str:
    import torch

    return str(torch.cuda.get_device_name()) if device == "cuda" else "cpu"


def _network(recipe: TorchRecipe, inputs: int, outputs: int) -> Any:
    import torch

    made = recipe.module
    if isinstance(made, type) or not isinstance(made, torch.nn.Module):
        made = made(inputs, outputs)
    if not isinstance(made, torch.nn.Module):
        raise TrainingError(f"the recipe's module makes {type(made).__name__}, which is no torch.nn.Module")
    return made.float()


def _answers(target: Target, recipe: TorchRecipe) -> tuple[Any, float, float]:
    """The target as the loop reads it, with the mean and deviation that it was standardised by."""
    if target.classes is not None:
        return target.values.astype(np.int64), 0.0, 1.0
    mean, deviation = 0.0, 1.0
    if recipe.standardise_target:
        mean, deviation = float(target.values.mean()), float(target.values.std()) or 1.0
    standard = (target.values - mean) / deviation
    return standard.astype(np.float32).reshape(-1, 1), mean, deviation


def _whole(network: Any, mean: float, deviation: float) -> Any:
    """The network, answering in units of the target."""
    import torch

    if (mean, deviation) == (0.0, 1.0):
        return network

    class InUnitsOfTheTarget(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
            self.register_buffer("deviation", torch.tensor(deviation, dtype=torch.float32))

        def forward(self, features: Any) -> Any:
            return self.network(features) * self.deviation + self.mean

    return InUnitsOfTheTarget().eval()


def _predictor(network: Any, *, is_regression: bool) -> Callable[[Float32], Output]:
    import torch

    def predict(matrix: Float32) -> Output:
        with torch.no_grad():
            parts = [
                network(torch.from_numpy(np.ascontiguousarray(matrix[start : start + _PREDICT_ROWS])))
                for start in range(0, len(matrix), _PREDICT_ROWS)
            ]
            answer = torch.cat(parts)
            if is_regression:
                return Output(prediction=answer.reshape(-1).numpy().astype(np.float32))
            probability = torch.softmax(answer, dim=-1).numpy().astype(np.float32)
        return Output(label=probability.argmax(axis=1).astype(np.int64), probability=probability)

    return predict


def _fingerprint(
    recipe: TorchRecipe, matrix: Float32, target: Target, model: Model, root: Path, device: str
) -> str:
    """Names a training: data, code, parameters, seed and device."""
    settings = {name: value for name, value in vars(recipe).items() if not callable(value)}
    return digest_of(
        {
            "rows": sha256_hex(np.ascontiguousarray(matrix).tobytes()),
            "answers": sha256_hex(target.values.tobytes()),
            "code": sha256_hex((root / model.train.partition(":")[0]).read_bytes()),
            "params": model.params,
            "recipe": settings,
            "seed": model.seed,
            "device": device,
        }
    )
