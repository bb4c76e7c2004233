"""What a project's ``build`` returns to have a neural network trained by the box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlops_box.errors import TrainingError


@dataclass(frozen=True, kw_only=True)
class TorchRecipe:
    """A network and how to train it; the box runs the loop.

    The network reads float32 [rows, inputs] (imputed, scaled, one-hot encoded) and returns float32 [rows, outputs]: one
    number for regression, one logit a class otherwise.

    Example:
        >>> def build(params):
        ...     from torch import nn
        ...     hidden = params.get("hidden", 64)
        ...     return TorchRecipe(
        ...         module=lambda inputs, outputs: nn.Sequential(
        ...             nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
        ...         ),
        ...         epochs=30,
        ...     )

    Attributes:
        module: ``(inputs, outputs) -> torch.nn.Module``, or a ready module.
        loss: ``mse``, ``mae``, ``huber``, ``cross_entropy`` or ``(output, target) -> scalar tensor``, where target is float32
            [rows, 1] for regression and int64 [rows] otherwise; ``None``: ``mse`` or ``cross_entropy`` by the task.
        optimiser: ``adamw``, ``adam``, ``sgd`` or ``(parameters) -> torch.optim.Optimizer``.
        learning_rate: For a named optimiser.
        weight_decay: For a named optimiser.
        epochs: At most this many passes over the training rows.
        batch_size: Rows a step.
        patience: Stop after this many epochs without a better validation loss; ``None``: never early.
        validation: Share of the training rows (never of the test rows) held out to decide when to stop.
        standardise_target: Regression: learn (y - mean) / standard deviation; undone within the exported model.
        mixed_precision: On CUDA: bfloat16 where the GPU has it, else float16 with loss scaling.
        gradient_clip: Largest norm of the gradient; ``None``: not clipped.

    Raises:
        TrainingError: A number is out of its range, or a name is unknown.
    """

    module: Callable[[int, int], Any] | Any
    loss: str | Callable[[Any, Any], Any] | None = None
    optimiser: str | Callable[[Any], Any] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    epochs: int = 50
    batch_size: int = 256
    patience: int | None = 10
    validation: float = 0.15
    standardise_target: bool = True
    mixed_precision: bool = True
    gradient_clip: float | None = None

    def __post_init__(self) -> None:
        problems = {
            "module must be a torch module or a function of (inputs, outputs)": not callable(self.module),
            f"loss {self.loss!r} is not one of {', '.join(LOSSES)}": isinstance(self.loss, str)
            and self.loss not in LOSSES,
            f"optimiser {self.optimiser!r} is not one of {', '.join(OPTIMISERS)}": isinstance(
                self.optimiser, str
            )
            and self.optimiser not in OPTIMISERS,
            "learning_rate must be above 0": not self.learning_rate > 0,
            "epochs must be 1 or more": self.epochs < 1,
            "batch_size must be 1 or more": self.batch_size < 1,
            "patience must be 1 or more, or None": self.patience is not None and self.patience < 1,
            "validation must be between 0 and 0.5": not 0 < self.validation <= 0.5,
        }
        for message, wrong in problems.items():
            if wrong:
                raise TrainingError(f"the torch recipe cannot be used: {message}")


LOSSES = ("mse", "mae", "huber", "cross_entropy")
OPTIMISERS = ("adamw", "adam", "sgd")
