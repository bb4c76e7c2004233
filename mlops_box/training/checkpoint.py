"""Checkpoints of a torch training: written whole or not at all, read without running any code."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_box.files import write_whole

_FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """Everything to go on after epoch ``epoch``.

    Random numbers need no state: each epoch seeds its generators anew from (seed, epoch).

    Attributes:
        epoch: The last finished epoch, from 1.
        network: Its weights then.
        optimiser: The optimiser's state then.
        scaler: The loss scaler's state then; empty where none is used.
        best: Weights of the best epoch so far.
        best_epoch: Its number.
        best_loss: Its loss.
        history: Losses of every finished epoch.
        stopped: Whether training is over.
    """

    epoch: int
    network: dict[str, Any]
    optimiser: dict[str, Any]
    scaler: dict[str, Any]
    best: dict[str, Any]
    best_epoch: int
    best_loss: float
    history: list[dict[str, float]]
    stopped: bool


class CheckpointFile:
    """The one checkpoint of one training.

    Args:
        folder: Where it lies; made when absent.
        key: Names data, code, parameters and seed: another training never continues this one.
    """

    def __init__(self, folder: Path, key: str):
        self._key = key
        self._path = folder / f"torch-{key[:16]}.ckpt"

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint; after a crash the old one or the new one is there.

        Raises:
            StorageError: It cannot be written.
        """
        import torch

        buffer = io.BytesIO()
        torch.save({"format": _FORMAT, "key": self._key, **vars(checkpoint)}, buffer)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, buffer.getbuffer())

    def load(self, device: str) -> Checkpoint | None:
        """The checkpoint of this very training; ``None`` when there is none that can be read."""
        import torch
        from torch._weights_only_unpickler import UnpicklingError

        if not self._path.is_file():
            return None
        try:
            # Said outright: an environment variable can change the default to one that runs code.
            raw = torch.load(self._path, map_location=device, weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, KeyError, UnpicklingError):
            return None
        if (
            not isinstance(raw, dict)
            or raw.pop("format", None) != _FORMAT
            or raw.pop("key", None) != self._key
        ):
            return None
        try:
            return Checkpoint(**raw)
        except TypeError:
            return None
