"""The key that opens the rollout of the model under the cursor."""

from __future__ import annotations

from typing import Any

from textual.binding import Binding

from mlops_box_tui.screens.rollout import RolloutScreen
from mlops_box_tui.views.base import ListView


def rollout_key(view: str) -> Binding:
    """The binding of a list view whose rows name a model."""
    return Binding(
        "o",
        "rollout",
        "rollout",
        show=False,
        id=f"{view}.rollout",
        tooltip="The rollout of the model that is under way, or its last.",
    )


def open_rollout(view: ListView[Any]) -> None:
    """Show the rollout of the model under the cursor."""
    if view.row is not None:
        view.app.push_screen(RolloutScreen(view.row.model))
