"""``sd_notify(3)`` without a library: one datagram to the socket that systemd names; nowhere, where it names none."""

from __future__ import annotations

import os
import socket
from typing import Mapping


def notify(message: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Tell systemd ``message``, such as ``READY=1``; whether somebody was listening."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        # A listener that is slow must not hold up who serves.
        channel.setblocking(False)
        try:
            channel.sendto(message.encode(), "\0" + address[1:] if address[0] == "@" else address)
        except OSError:
            return False
    return True
