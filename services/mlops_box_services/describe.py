"""What the server says about its models."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mlops_box.clock import isoformat
from mlops_box.serving.router import Router
from mlops_box.serving.slot import Slot


def model_list(router: Router) -> dict[str, Any]:
    """Every model that has a champion."""
    found = []
    for route in router.routes():
        slot = router.champion(route.model)
        device = asdict(slot.device) if slot else None
        swap = router.last_swap(route.model)
        found.append(
            {
                **asdict(route),
                "task": slot.version.task if slot else None,
                "device": device,
                "last_swap": asdict(swap) if swap else None,
            }
        )
    return {"models": found}


def model(slot: Slot, router: Router) -> dict[str, Any]:
    """One version: its signature, metrics and whether it is the one that answers."""
    version = slot.version
    signature = asdict(version.signature)
    champion = router.champion(version.model)
    return {
        "model": version.model,
        "version": version.number,
        "ref": version.ref,
        "is_champion": champion is slot,
        "digest": version.digest,
        "device": asdict(slot.device),
        "task": version.task,
        "target": signature["target"],
        "classes": signature["classes"],
        "features": signature["features"],
        "metrics": version.metrics,
        "snapshot": version.snapshot_id,
        "created_at": isoformat(version.created_at),
    }
