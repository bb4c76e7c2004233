"""Trains a declared model and exports it: the one entry of this room."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from mlops_box.errors import IntegrityError, TrainingError
from mlops_box.models.encode import Tensors, encode_rows
from mlops_box.models.encode_tables import encode_table
from mlops_box.models.golden import Golden
from mlops_box.models.runtime import OnnxModel, Output
from mlops_box.models.values import Signature
from mlops_box.progress import Progress
from mlops_box.project import Model
from mlops_box.run_log import printing_aside
from mlops_box.training.environment import describe_environment
from mlops_box.training.graph import assemble
from mlops_box.training.inputs import Indices, Target, declared_features, read_target
from mlops_box.training.lint import check_estimator
from mlops_box.training.parity import ParityReport, choose_golden, compare, parity_rows
from mlops_box.training.preprocess import Preprocessor, fit_preprocessor
from mlops_box.training.recipe import TorchRecipe
from mlops_box.training.sklearn_fit import FittedCore, fit_sklearn, global_seeds
from mlops_box.training.user_code import user_code
from mlops_box.training.watch import EpochWatch


class Indexed(Protocol):
    """Which rows of a table are for training and which are held out (``data.splits.SplitIndices``)."""

    @property
    def train(self) -> Indices: ...
    @property
    def test(self) -> Indices: ...


@dataclass(frozen=True)
class Trained:
    """A trained and exported model with all that proves what it is.

    Attributes:
        signature: Inputs and outputs; categories and classes as seen in training.
        model_onnx: One named, typed input [rows, 1] a feature.
        packed_onnx: The same behind two inputs, for :class:`mlops_box.models.runtime.OnnxModel`.
        golden: Rows with the trained model's own answers.
        parity: Both graphs against the trained model. When it did not pass, the version must not be served.
        environment: Programs, machine, code, seed, and what the trainer reports.
        predict: The trained model's own answers for encoded rows.
        train: Indices of the rows learnt from: the split's, less those without a target.
        test: Indices of the held-out rows that have a target.
        notes: What the libraries warned of.
    """

    signature: Signature
    model_onnx: bytes
    packed_onnx: bytes
    golden: Golden
    parity: ParityReport
    environment: dict[str, Any]
    predict: Callable[[Tensors], Output]
    train: Indices
    test: Indices
    notes: tuple[str, ...]


def train_model(
    table: pa.Table,
    indices: Indexed,
    model: Model,
    folder: Path,
    *,
    types: dict[str, str],
    progress: Progress,
    watch: EpochWatch | None = None,
    checkpoints: Path | None = None,
    gpu_lock: Path | None = None,
) -> Trained:
    """Train ``model`` on ``table`` and export it.

    Args:
        table: The snapshot.
        indices: Its training and held-out rows.
        model: The declaration.
        folder: The project's folder, where the training function lies.
        types: Contract types by column; what it lacks is told by the table.
        progress: Told of each step.
        watch: torch: told of each epoch.
        checkpoints: torch: a folder for checkpoints; a run that was killed goes on from its last one.
        gpu_lock: The file whose lock is the lease of the GPU; ``None``: no lease is taken.

    Raises:
        TrainingError: Data, declaration, training function and estimator do not fit together, or cannot be exported.
    """
    features = declared_features(table, model, types)
    target = read_target(table, model, indices.train, indices.test)
    draft = Signature(model.task, model.target, features, target.classes)
    progress.begin("prepare features")
    tensors = encode_table(table.select(model.features).take(pa.array(target.train)), draft)
    preprocessor = fit_preprocessor(tensors, features, model.preprocess)
    signature = Signature(model.task, model.target, preprocessor.name_values(features), target.classes)
    matrix = preprocessor.transform(tensors)
    progress.end()

    # What the user's code prints is talk: standard output belongs to the command's data.
    with user_code(folder, model.train) as build, printing_aside():
        recipe = _build(build, model)
        if isinstance(recipe, TorchRecipe):
            from mlops_box.training.torch_fit import fit_torch

            fitted = fit_torch(
                recipe, matrix, target, model, folder=folder, progress=progress, watch=watch,
                checkpoints=checkpoints, device=model.device, gpu_lock=gpu_lock,
            )  # fmt: skip
        else:
            check_estimator(recipe, model.task)
            progress.begin("fit")
            fitted = fit_sklearn(recipe, matrix, target, model.task, seed=model.seed)
            progress.end()
    return _export(table, model, folder, signature, preprocessor, fitted, target, progress)


def _build(build: Callable[[dict[str, Any]], Any], model: Model) -> Any:
    with global_seeds(model.seed):
        # A module made by the function itself, not by a factory, draws its weights here.
        if torch := sys.modules.get("torch"):
            torch.manual_seed(model.seed)
        made = build(dict(model.params))
    if isinstance(made, type):
        raise TrainingError(
            f"{model.train} returned the class {made.__name__}", hint=f"return {made.__name__}(...)"
        )
    return made


def _load(packed: bytes, signature: Signature) -> OnnxModel:
    try:
        return OnnxModel(packed, signature)
    except IntegrityError as error:
        raise TrainingError(
            f"the exported model cannot be served: {error.message}",
            hint="use another estimator or other parameters",
        ) from error


def _export(
    table: pa.Table,
    model: Model,
    folder: Path,
    signature: Signature,
    preprocessor: Preprocessor,
    fitted: FittedCore,
    target: Target,
    progress: Progress,
) -> Trained:
    def predict(tensors: Tensors) -> Output:
        return fitted.predict(preprocessor.transform(tensors))

    progress.begin("export and compare")
    graphs = assemble(preprocessor, fitted.core, signature)
    packed = _load(graphs.packed, signature)
    rows = parity_rows(table, signature, target.train, target.test, seed=model.seed)
    tensors = encode_rows(rows, signature)
    native = predict(tensors)
    spread = 1.0 if signature.classes is not None else float(np.std(target.values)) or 1.0
    parity = compare(native, graphs.named, packed, tensors, spread=spread)
    golden = choose_golden(rows, native, packed.predict(tensors), spread=spread)
    progress.end()
    return Trained(
        signature=signature,
        model_onnx=graphs.named,
        packed_onnx=graphs.packed,
        golden=golden,
        parity=parity,
        environment=describe_environment(folder, train=model.train, seed=model.seed, facts=fitted.facts),
        predict=predict,
        train=target.train,
        test=target.test,
        notes=fitted.notes,
    )
