"""The port that gRPC listens at: taken before anything is loaded, and shared by all workers of one server."""

from __future__ import annotations

import socket

from mlops_box.errors import BusyError


def literal(host: str) -> str:
    """The address that a host to bind stands for; gRPC would bind every address of a name."""
    return "127.0.0.1" if host == "localhost" else host


def reserve(host: str, port: int | None, *, http_port: int) -> socket.socket:
    """A socket that holds the port and never listens: keep it open while gRPC servers come and go on the port.

    Args:
        port: ``None`` for the one after ``http_port``, or any where that is taken; 0 for any.

    Raises:
        BusyError: The port is somebody else's.
    """
    if port is None and http_port < 65535:
        try:
            return _bound(host, http_port + 1)
        except OSError:
            port = 0
    try:
        return _bound(host, port or 0)
    except OSError as error:
        raise BusyError(
            f"port {port} on {host} cannot be used for gRPC: {error.strerror or error}",
            hint="stop what uses it, or choose another --grpc-port (0 takes a free one), or --no-grpc",
        ) from error


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
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
