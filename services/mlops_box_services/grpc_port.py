"""The port that gRPC listens at: taken before anything is loaded, and shared by all workers of one server."""

from __future__ import annotations

import socket

from mlops_box.errors import BusyError

Place = tuple[str, int]


def reserve(http: socket.socket, port: int | None) -> socket.socket:
    """A socket that holds the port and never listens: keep it open while gRPC servers come and go on the port.

    Args:
        http: The listener of HTTP, at whose address gRPC listens too.
        port: ``None`` for the one after HTTP's, or any where that is taken; 0 for any.

    Raises:
        BusyError: The port is somebody else's.
    """
    host, http_port = http.getsockname()[:2]
    if port is None and http_port < 65535:
        try:
            return _bound(http.family, host, http_port + 1)
        except OSError:
            port = 0
    try:
        return _bound(http.family, host, port or 0)
    except OSError as error:
        raise BusyError(
            f"port {port} on {host} cannot be used for gRPC: {error.strerror or error}",
            hint="stop what uses it, or choose another --grpc-port (0 takes a free one), or --no-grpc",
        ) from error


def place_text(place: Place) -> str:
    """``address:port``, with brackets around IPv6."""
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_place(text: str) -> Place:
    """The other way round."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def _bound(family: socket.AddressFamily | int, host: str, port: int) -> socket.socket:
    # Sharing is for our own workers: with it, two servers of one user would get the same port and half of the calls each.
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        found = probe.getsockname()[1]
    held = socket.socket(family, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        held.bind((host, found))
    except OSError:
        held.close()
        raise
    return held
