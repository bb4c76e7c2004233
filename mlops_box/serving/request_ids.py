"""Request ids: the caller's where it is harmless, else one made here."""

from __future__ import annotations

import itertools
import os
import re

_HARMLESS = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")


class RequestIds:
    """Makes ids that no other process makes; for HTTP headers and gRPC metadata alike."""

    def __init__(self) -> None:
        self._prefix = os.urandom(6).hex().encode()
        self._counter = itertools.count()

    def take(self, given: bytes | None) -> bytes:
        """``given``, unless it is absent, too long or made of other than plain characters."""
        if given is not None and _HARMLESS.fullmatch(given):
            return given
        return b"%b-%x" % (self._prefix, next(self._counter))
