"""One HTTP request and its answer, as the routes see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Sequence

from mlops_box.json_bytes import dumps
from mlops_box.serving.problems import Headers

JSON_TYPE = b"application/json"
OCTETS = b"application/octet-stream"


@dataclass
class Request:
    """A request whose head was read.

    ``headers`` have their names in lower case. ``read_body`` reads the body, once; it raises ``HttpProblem`` when that
    takes too long. ``started_s`` is when it arrived, by the monotonic clock.
    """

    method: str
    path: str
    headers: Sequence[tuple[bytes, bytes]]
    read_body: Callable[[], bytes]
    started_s: float
    request_id: bytes = b"-"

    def header(self, name: bytes) -> bytes | None:
        """The first header of that (lower case) name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    status: int
    body: bytes
    content_type: bytes = JSON_TYPE
    headers: Headers = ()


def json_answer(content: object, status: int = 200) -> Answer:
    return Answer(status, dumps(content, default=str))
