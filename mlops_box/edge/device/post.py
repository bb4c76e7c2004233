"""One POST to the other side of a sync; the box and the device use the same."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

from .batch import MAX_ENVELOPE_BYTES
from .errors import Refused

_TIMEOUT_S = 60.0


def post(url: str, path: str, body: bytes, what: str) -> bytes:
    """The body of a good answer.

    Args:
        url: Of the server: ``http://box:8321`` or ``https://…``.
        what: Who is asked, for errors.

    Raises:
        Refused: ``url`` is none, nobody answers, or not with status 200.
    """
    place = urlsplit(url)
    if place.scheme not in ("http", "https") or not place.hostname:
        raise Refused(f"{url!r} is no address of {what}", hint="http://HOST:PORT", rule="sync.address")
    kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(place.hostname, place.port, timeout=_TIMEOUT_S)
        try:
            connection.request(
                "POST", place.path.rstrip("/") + path, body, {"Content-Type": "application/json"}
            )
            answer = connection.getresponse()
            data = answer.read(MAX_ENVELOPE_BYTES + 1)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Refused(
            f"{what} at {url} does not answer: {error}", hint="nothing is lost: try again", rule="sync.silent"
        ) from error
    if answer.status != 200:
        raise Refused(f"{what} at {url} refused ({answer.status}): {_said(data)}", rule="sync.refused")
    return data


def _said(data: bytes) -> str:
    """The message in an error of ours; its first bytes where it is none."""
    try:
        return str(json.loads(data)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return data[:200].decode("utf-8", "replace")
