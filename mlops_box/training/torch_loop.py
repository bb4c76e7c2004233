"""The training loop: seeded, checkpointed after each epoch, stopped early."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_box.epochs import EpochPlan
from mlops_box.errors import TrainingError
from mlops_box.models.encode import Float32
from mlops_box.progress import Progress
from mlops_box.training.checkpoint import Checkpoint, CheckpointFile
from mlops_box.training.recipe import TorchRecipe
from mlops_box.training.threads import thread_count
from mlops_box.training.watch import EpochWatch, NoWatch

Indices = npt.NDArray[np.int64]
# Below this size the rows live on the device; above, each batch travels.
_RESIDENT_BYTES = 1 << 30
_EVALUATION_ROWS = 8192


@dataclass
class LoopResult:
    """How the training went; the network holds its best weights."""

    epochs: int
    best_epoch: int
    history: list[dict[str, float]]
    resumed_after: int | None


@dataclass
class _State:
    """What changes from epoch to epoch."""

    epoch: int = 0
    best: dict[str, Any] = field(default_factory=dict)
    best_epoch: int = 0
    best_loss: float = math.inf
    history: list[dict[str, float]] = field(default_factory=list)
    stopped: bool = False


class TrainingLoop:
    """Trains one network on one feature matrix.

    Args:
        network: A ``torch.nn.Module`` on ``device``.
        recipe: How to train it.
        matrix: float32 [rows, inputs].
        target: float32 [rows, 1] or int64 [rows].
        seed: For the split, the order of rows and all random numbers of torch.
        device: ``cpu`` or ``cuda``.
        checkpoints: Where to save after each epoch and to go on from; ``None``: nowhere.
    """

    def __init__(
        self,
        network: Any,
        recipe: TorchRecipe,
        matrix: Float32,
        target: npt.NDArray[Any],
        *,
        seed: int,
        device: str,
        checkpoints: CheckpointFile | None,
    ):
        import torch

        self._torch = torch
        self._network = network
        self._recipe = recipe
        self._seed = seed
        self._device = device
        self._checkpoints = checkpoints
        home = device if matrix.nbytes <= _RESIDENT_BYTES else "cpu"
        self._rows = torch.from_numpy(matrix).to(home)
        self._answers = torch.from_numpy(target).to(home)
        self._train, self._validation = _hold_out(len(matrix), recipe, seed)
        self._loss = _loss_of(recipe, is_regression=target.dtype == np.float32)
        self._optimiser = _optimiser_of(recipe, network)
        half = recipe.mixed_precision and device == "cuda"
        self._half = (torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16) if half else None
        self._scaler = torch.amp.GradScaler(device, enabled=self._half is torch.float16)

    @property
    def precision(self) -> str:
        return str(self._half or self._torch.float32).removeprefix("torch.")

    def run(self, *, progress: Progress, watch: EpochWatch | None) -> LoopResult:
        """Train to the end and leave the best weights in the network.

        Losses of epochs before an interruption are told again: a resumed run shows its whole curve.

        Raises:
            TrainingError: The loss is no longer a number, or the network's answer has the wrong shape.
        """
        state = _State()
        resumed_after = self._resume(state)
        watch = watch or NoWatch()
        progress.begin("train network", total=self._recipe.epochs)
        try:
            for number, losses in enumerate(state.history, start=1):
                watch.epoch(number, losses, replayed=True)
            watch.begin(self._plan(state))
            progress.advance(state.epoch, note="resumed" if state.epoch else "")
            while not state.stopped:
                self._one_epoch(state)
                progress.advance(1, note=_note(state))
                watch.epoch(state.epoch, state.history[-1], replayed=False)
            watch.end()
        finally:
            progress.end()
        self._network.load_state_dict(state.best)
        return LoopResult(state.epoch, state.best_epoch, state.history, resumed_after)

    def _plan(self, state: _State) -> EpochPlan:
        return EpochPlan(
            self._recipe.epochs, may_stop=self._recipe.patience is not None, resumed_after=state.epoch
        )

    def _one_epoch(self, state: _State) -> None:
        number = state.epoch + 1
        losses = {"train_loss": self._learn(number)}
        if len(self._validation):
            losses["validation_loss"] = self._evaluate()
        for name, loss in losses.items():
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the {name.replace('_', ' ')} is {loss} in epoch {number}",
                    hint="lower the learning_rate, or set gradient_clip=1.0",
                )
        state.epoch = number
        state.history.append(losses)
        watched = losses.get("validation_loss")
        if watched is None or watched < state.best_loss:
            state.best_loss = losses["train_loss"] if watched is None else watched
            state.best_epoch = number
            state.best = {name: value.detach().clone() for name, value in self._network.state_dict().items()}
        patience = self._recipe.patience
        tired = patience is not None and watched is not None and number - state.best_epoch >= patience
        state.stopped = number >= self._recipe.epochs or tired
        if self._checkpoints is not None:
            self._checkpoints.save(self._checkpoint(state))

    def _learn(self, epoch: int) -> float:
        """One pass over the training rows; the mean loss."""
        torch = self._torch
        # Seeded by the epoch: a resumed run draws the numbers that an unbroken one would have drawn.
        torch.manual_seed(int(np.random.SeedSequence([self._seed, epoch]).generate_state(1)[0]))
        order = self._train[np.random.default_rng([self._seed, epoch]).permutation(len(self._train))]
        self._network.train()
        total, seen = torch.zeros((), device=self._device), 0
        for batch in _batches(order, self._recipe.batch_size):
            rows, answers = self._batch(batch)
            self._optimiser.zero_grad(set_to_none=True)
            with self._autocast():
                loss = self._loss_for(self._network(rows), answers)
            self._scaler.scale(loss).backward()
            if self._recipe.gradient_clip is not None:
                self._scaler.unscale_(self._optimiser)
                torch.nn.utils.clip_grad_norm_(self._network.parameters(), self._recipe.gradient_clip)
            self._scaler.step(self._optimiser)
            self._scaler.update()
            total += loss.detach().float() * len(batch)
            seen += len(batch)
        return float(total) / seen

    def _evaluate(self) -> float:
        self._network.eval()
        total = 0.0
        with self._torch.no_grad():
            for start in range(0, len(self._validation), _EVALUATION_ROWS):
                batch = self._validation[start : start + _EVALUATION_ROWS]
                rows, answers = self._batch(batch)
                total += float(self._loss_for(self._network(rows), answers)) * len(batch)
        return total / len(self._validation)

    def _batch(self, indices: Indices) -> tuple[Any, Any]:
        chosen = self._torch.from_numpy(indices).to(self._rows.device)
        return self._rows[chosen].to(self._device), self._answers[chosen].to(self._device)

    def _loss_for(self, output: Any, answers: Any) -> Any:
        check_output(output, len(answers))
        return self._loss(output.float(), answers)

    def _autocast(self) -> Any:
        return (
            self._torch.autocast(self._device, dtype=self._half) if self._half is not None else nullcontext()
        )

    def _checkpoint(self, state: _State) -> Checkpoint:
        return Checkpoint(
            network=self._network.state_dict(),
            optimiser=self._optimiser.state_dict(),
            scaler=self._scaler.state_dict(),
            **vars(state),
        )

    def _resume(self, state: _State) -> int | None:
        found = self._checkpoints.load(self._device) if self._checkpoints is not None else None
        if found is None:
            return None
        self._network.load_state_dict(found.network)
        self._optimiser.load_state_dict(found.optimiser)
        self._scaler.load_state_dict(found.scaler)
        for name in vars(state):
            setattr(state, name, getattr(found, name))
        return found.epoch


def check_output(output: Any, rows: int) -> None:
    """Raises :class:`TrainingError` unless ``output`` is [rows, something]."""
    if getattr(output, "ndim", None) != 2 or output.shape[0] != rows:
        shape = tuple(output.shape) if hasattr(output, "shape") else type(output).__name__
        raise TrainingError(
            f"the network answers {shape} for {rows} rows", hint="its forward must return [rows, outputs]"
        )


@contextmanager
def seeded_torch(seed: int, device: str) -> Iterator[None]:
    """torch seeded, deterministic and kept to its cores within the block; all put back afterwards."""
    import torch

    benchmark, threads = torch.backends.cudnn.benchmark, torch.get_num_threads()
    deterministic, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device == "cuda" else []):
        torch.manual_seed(seed)
        torch.set_num_threads(thread_count())
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.backends.cudnn.benchmark = benchmark
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)


def _hold_out(rows: int, recipe: TorchRecipe, seed: int) -> tuple[Indices, Indices]:
    """Row numbers to learn from and to validate on; none of the latter where nothing can stop the training early."""
    everything = np.arange(rows, dtype=np.int64)
    if recipe.patience is None:
        return everything, everything[:0]
    order = np.random.default_rng(seed).permutation(everything)
    held = max(1, round(rows * recipe.validation))
    return np.sort(order[held:]), np.sort(order[:held])


def _batches(order: Indices, size: int) -> Iterator[Indices]:
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        # Batch normalisation cannot learn from a single row; it gets its turn in another epoch.
        if len(batch) > 1 or len(order) == 1:
            yield batch


def _loss_of(recipe: TorchRecipe, *, is_regression: bool) -> Callable[[Any, Any], Any]:
    from torch.nn import functional

    if callable(recipe.loss):
        return recipe.loss
    name = recipe.loss or ("mse" if is_regression else "cross_entropy")
    if (name == "cross_entropy") == is_regression:
        raise TrainingError(
            f"loss {name!r} does not fit the task",
            hint="mse, mae or huber for regression; cross_entropy for classes",
        )
    losses: dict[str, Callable[[Any, Any], Any]] = {
        "mse": functional.mse_loss,
        "mae": functional.l1_loss,
        "huber": functional.huber_loss,
        "cross_entropy": functional.cross_entropy,
    }
    return losses[name]


def _optimiser_of(recipe: TorchRecipe, network: Any) -> Any:
    from torch import optim

    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not parameters:
        raise TrainingError("the network has nothing to learn: no parameter requires a gradient")
    if callable(recipe.optimiser):
        return recipe.optimiser(parameters)
    kind = {"adamw": optim.AdamW, "adam": optim.Adam, "sgd": optim.SGD}[recipe.optimiser]
    extra = {"momentum": 0.9} if recipe.optimiser == "sgd" else {}
    return kind(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, **extra)


def _note(state: _State) -> str:
    return " ".join(f"{name.removesuffix('_loss')} {loss:.4g}" for name, loss in state.history[-1].items())
