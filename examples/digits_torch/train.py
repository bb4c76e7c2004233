"""A small convolutional network over 8 x 8 pixels; the box runs the loop (CUDA where there is one)."""

from typing import Any

from mlops_box.training import TorchRecipe


def build(params: dict[str, Any]) -> TorchRecipe:
    """A recipe; ``params`` is ``[model.params]`` of mlops.toml."""
    from torch import nn

    def network(inputs: int, outputs: int) -> nn.Module:
        assert inputs == 64, "the pixels p00 to p63"
        return nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)),
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(32 * 4 * 4, outputs),
        )

    return TorchRecipe(module=network, learning_rate=3e-3, **{"epochs": 20, "batch_size": 64, **params})
