"""The request guard: what is not clearly meant for this server is refused before anything is read.

A server on the loopback interface can be reached by every web page the user opens. Against DNS rebinding: exactly one
Host header, from an allow-list. Against cross-site requests: no foreign Origin, and only content types (JSON, Arrow,
octets) which a page cannot send without a preflight that nobody answers.
"""

from __future__ import annotations

from collections.abc import Iterable

from mlops_box.serving.problems import HttpProblem

MAX_BODY_BYTES = 8 * 1024 * 1024
LOOPBACK = frozenset({b"localhost", b"127.0.0.1", b"[::1]"})
# What is not JSON: raw tensors and Arrow's stream format. A form or a page's plain text is none of them.
BINARY_TYPES = frozenset({b"application/octet-stream", b"application/vnd.apache.arrow.stream"})
_SAFE_METHODS = frozenset({"GET", "HEAD"})
RawHeaders = Iterable[tuple[bytes, bytes]]


class Guard:
    """Checks method and headers of every request, whatever its path.

    Args:
        hosts: Names this server answers to, without port, lower case; IPv6 in brackets.
        max_body_bytes: A larger body is refused, announced or not.
    """

    def __init__(self, *, hosts: Iterable[bytes] = LOOPBACK, max_body_bytes: int = MAX_BODY_BYTES):
        self._hosts = frozenset(hosts)
        self.max_body_bytes = max_body_bytes

    def check(self, method: str, headers: RawHeaders, *, may_be_untyped: bool = False) -> bytes | None:
        """Pass, and return the request's X-Request-ID, or raise. Header names are lower case, as ASGI gives them.

        Args:
            may_be_untyped: A body without a content type is accepted from who is no web page: browsers send an Origin with it.

        Raises:
            HttpProblem: 421 foreign Host, 403 foreign Origin, 415 an unknown content type, 413 body too large, 400 malformed.
        """
        host: bytes | None = None
        origin: bytes | None = None
        content_type: bytes | None = None
        request_id: bytes | None = None
        has_body = False
        for name, value in headers:
            if name == b"host":
                if host is not None:
                    raise HttpProblem(421, "host", "the request names more than one host")
                host = value
            elif name == b"origin":
                origin = value
            elif name == b"x-request-id":
                request_id = value
            elif name == b"content-type":
                if content_type is not None:
                    raise HttpProblem(415, "content_type", "the request names more than one content type")
                content_type = value
            elif name == b"content-length":
                has_body = self._announces_body(value)
            elif name == b"transfer-encoding":
                has_body = True
            elif name == b"content-encoding" and value.lower() != b"identity":
                raise HttpProblem(415, "content_encoding", "compressed bodies are not accepted")
        if host is None or _without_port(host) not in self._hosts:
            raise HttpProblem(
                421,
                "host",
                f"this server does not answer to {_shown(host or b'')!r}",
                hint="call it by localhost or 127.0.0.1",
            )
        if method in _SAFE_METHODS and not has_body:
            return request_id
        if origin is not None and not self._is_own(origin):
            raise HttpProblem(
                403, "origin", f"requests from the web page {_shown(origin)!r} are not accepted"
            )
        if has_body and content_type not in BINARY_TYPES and not is_json(content_type):
            if may_be_untyped and content_type is None and origin is None:
                return request_id
            raise HttpProblem(
                415,
                "content_type",
                f"the body's content type is {_shown(content_type or b'')!r}",
                hint="send JSON with Content-Type: application/json, or raw tensors or an Arrow stream by their own types",
            )
        return request_id

    def too_large(self) -> HttpProblem:
        """For a body beyond the cap. The connection stays open: what still comes is discarded, and the client, which
        may send all of it before it reads, gets to see the answer."""
        return HttpProblem(
            413,
            "too_large",
            f"the body is larger than {self.max_body_bytes} bytes",
            hint="send fewer rows at a time, or score the file: mlops-box score",
        )

    def _announces_body(self, value: bytes) -> bool:
        if not value.isdigit():
            raise HttpProblem(400, "content_length", "the content length is no number")
        if len(value) > 18 or int(value) > self.max_body_bytes:
            raise self.too_large()
        return int(value) > 0

    def _is_own(self, origin: bytes) -> bool:
        scheme, separator, host = origin.lower().partition(b"://")
        return scheme in (b"http", b"https") and bool(separator) and _without_port(host) in self._hosts


def is_json(content_type: bytes | None) -> bool:
    """Whether a body of that type is JSON, in any spelling of the type."""
    if content_type is None:
        return False
    if content_type == b"application/json":
        return True
    media, _, parameters = content_type.lower().partition(b";")
    parameters = parameters.strip()
    return media.strip() == b"application/json" and parameters in (
        b"",
        b"charset=utf-8",
        b'charset="utf-8"',
    )


def _without_port(host: bytes) -> bytes:
    host = host.lower()
    name, separator, port = host.rpartition(b":")
    return name if separator and port.isdigit() else host


def _shown(value: bytes) -> str:
    return value[:80].decode("ascii", errors="replace")
