"""What the device's code refuses, as the box's own errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlops_box.edge.device.errors import Refused
from mlops_box.errors import IntegrityError, SourceError


@contextmanager
def told_as_box_errors() -> Iterator[None]:
    """Turn :class:`Refused` into an error with an exit code.

    Raises:
        SourceError: There is no such file.
        IntegrityError: Anything else that was refused; ``details`` holds the rule.
    """
    try:
        yield
    except Refused as refused:
        kind = SourceError if refused.rule == "archive.absent" else IntegrityError
        raise kind(
            refused.message,
            hint=refused.hint or None,
            details={"rule": refused.rule} if refused.rule else None,
        ) from refused
