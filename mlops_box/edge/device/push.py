"""Send batches to the box over HTTP, each acknowledged before the next."""

from __future__ import annotations

from .errors import Refused
from .outgoing import Outgoing
from .post import post

PATH = "/edge/sync"


def push(outgoing: Outgoing, url: str) -> int:
    """Send everything that is not acknowledged; what was sent before an error stays acknowledged.

    Args:
        url: Of the box: ``http://box:8321`` or ``https://…``.

    Returns:
        How many records the box took over.

    Raises:
        Refused: The box does not answer, or not as it should.
    """
    taken = 0
    while True:
        made = outgoing.next()
        gone = outgoing.take(post(url, PATH, made.envelope, "the box"))
        taken += gone
        if made.records == 0:
            return taken
        if gone == 0:
            raise Refused("the box acknowledged nothing of what it was sent", rule="sync.push")
