"""Send batches to the box over HTTP, each acknowledged before the next."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

from .batch import MAX_ENVELOPE_BYTES
from .errors import Refused
from .outgoing import Outgoing

PATH = "/edge/sync"
_TIMEOUT_S = 60.0


def push(outgoing: Outgoing, url: str) -> int:
    """Send everything that is not acknowledged; what was sent before an error stays acknowledged.

    Args:
        url: Of the box: ``http://box:8600`` or ``https://…``.

    Returns:
        How many records the box took over.

    Raises:
        Refused: The box does not answer, or not as it should.
    """
    taken = 0
    while True:
        made = outgoing.next()
        gone = outgoing.take(_post(url, made.envelope))
        taken += gone
        if made.records == 0:
            return taken
        if gone == 0:
            raise Refused("the box acknowledged nothing of what it was sent", rule="sync.push")


def _post(url: str, body: bytes) -> bytes:
    place = urlsplit(url)
    if place.scheme not in ("http", "https") or not place.hostname:
        raise Refused(f"{url!r} is no address of a box", hint="http://box:8600", rule="sync.push")
    kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
    connection = kind(place.hostname, place.port, timeout=_TIMEOUT_S)
    try:
        connection.request("POST", place.path.rstrip("/") + PATH, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        data = answer.read(MAX_ENVELOPE_BYTES)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Refused(
            f"the box at {url} does not answer: {error}", hint="the records stay here", rule="sync.push"
        ) from error
    finally:
        connection.close()
    if answer.status != 200:
        raise Refused(f"the box refused the batch ({answer.status}): {_said(data)}", rule="sync.push")
    return data


def _said(data: bytes) -> str:
    """The message in an error of the box; its first bytes where it is none."""
    try:
        return str(json.loads(data)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return data[:200].decode("utf-8", "replace")
