"""The device's side of a pull: the box asks, and takes what there is."""

from __future__ import annotations

from .outgoing import Outgoing
from .place import Place


def outbox_page(place: Place, acknowledgement: bytes) -> bytes:
    """One step of a pull: take what the box says it has, and give the next batch.

    Args:
        acknowledgement: Signed by the box, of nothing at first: it proves that it is the box that asks.

    Raises:
        Refused: It is not signed by a trusted box, for this device; nothing is given away.
    """
    with Outgoing(place) as outgoing:
        outgoing.take(acknowledgement)
        return outgoing.next().envelope
