"""Devices in the field and a feature view, put into a seeded box."""

from __future__ import annotations

import sys
from pathlib import Path

import seeded_box

from mlops_box.box import Box

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.feature_case import view_over

HEALTH = {
    "serving": "bike-rentals@3",
    "slots": {
        "a": {"version": "bike-rentals@3", "role": "confirmed"},
        "b": {"version": "bike-rentals@2", "role": ""},
    },
}


def add_devices(box: Box) -> None:
    """``gate-1`` serves and told so three minutes ago; ``gate-2`` never came."""
    for name, public in (("gate-1", b"1" * 32), ("gate-2", b"2" * 32)):
        box.devices.add(name, public)
    with box.db.write() as tx:
        tx.execute(
            "UPDATE devices SET last_seen = ?, way = 'push', backlog = 1234, health = json(?) WHERE name = 'gate-1'",
            (seeded_box.ago(minutes=3), seeded_box.canonical_json(HEALTH)),
        )


def add_feature_view(box: Box) -> None:
    """``activity``: one column over events."""
    box.features.register(
        view_over("select card_id, happened_at, amount as spent from tx", {"spent": "double"})
    )
