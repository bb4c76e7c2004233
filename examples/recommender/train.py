"""Two towers: what a user took of late, and the item, each a vector; their dot product says whether it is taken."""

from typing import Any

from mlops_box.training import TorchRecipe

# The columns of the view user_taste; numbers come before one-hot columns.
USER = 6


def build(params: dict[str, Any]) -> TorchRecipe:
    """A recipe; ``params`` is ``[model.params]`` of mlops.toml."""
    import torch
    from torch import nn

    class Towers(nn.Module):
        def __init__(self, inputs: int) -> None:
            super().__init__()
            self.user = nn.Linear(USER, 16)
            # A linear layer over one-hot columns is an embedding of the item, plus one of its genre.
            self.item = nn.Linear(inputs - USER, 16)
            self.popular = nn.Linear(inputs - USER, 1)

        def forward(self, columns: torch.Tensor) -> torch.Tensor:
            user, item = columns[:, :USER], columns[:, USER:]
            match = (self.user(user) * self.item(item)).sum(dim=1, keepdim=True)
            taken = match + self.popular(item)
            return torch.cat([torch.zeros_like(taken), taken], dim=1)

    return TorchRecipe(module=lambda inputs, _: Towers(inputs), learning_rate=1e-2, **{"epochs": 8, **params})
