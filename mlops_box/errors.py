"""Every error a person may see, in one tree.

::

    BoxError
    ├── UsageError             2   what was asked for cannot be done as asked
    │   ├── ProjectError       2   mlops.toml
    │   ├── SourceError        2   the data cannot be read
    │   ├── TrainingError      2   the training function or its data do not fit
    │   └── NotFoundError      2   no such model, version, run, alert ...
    ├── RefusedError           3   a batch broke its data contract
    ├── GateError              4   a model version failed its gates
    ├── BusyError              5   somebody else holds it: a port, a lock, a running box
    ├── UnavailableError       6   a server or process does not answer
    ├── IntegrityError         7   stored bytes, the ledger or the database are not what they were
    └── StorageError           8   the disk is full, read-only or out of quota

Exit code 0 is success, 1 an unexpected failure (a bug: please report it), 130 an interrupt.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit status means; scripts may rely on these numbers."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    REFUSED = 3
    GATE = 4
    BUSY = 5
    UNAVAILABLE = 6
    INTEGRITY = 7
    STORAGE = 8
    INTERRUPTED = 130


class BoxError(Exception):
    """The base of all errors meant for people.

    Args:
        message: What is wrong and where (file, line, column, row).
        hint: What to do next; ``None`` when the message says it all.
        details: Machine-readable facts for ``--json`` and HTTP bodies.
    """

    exit_code: ExitCode = ExitCode.UNEXPECTED
    code: str = "error"

    def __init__(self, message: str, *, hint: str | None = None, details: dict[str, object] | None = None):
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details or {}

    def to_dict(self) -> dict[str, object]:
        """The one JSON shape of an error: ``{"error": {code, message, hint, details}}``."""
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "hint": self.hint,
                "details": self.details,
            }
        }


class UsageError(BoxError):
    """What was asked for cannot be done as asked."""

    exit_code = ExitCode.USAGE
    code = "usage"


class ProjectError(UsageError):
    """``mlops.toml`` is missing or wrong; the message names file, line and key."""

    code = "project"


class SourceError(UsageError):
    """The data cannot be read or lacks a declared column."""

    code = "source"


class TrainingError(UsageError):
    """The training function, its parameters or its data do not fit together."""

    code = "training"


class NotFoundError(UsageError):
    """No such model, version, alias, run, alert or snapshot."""

    code = "not_found"


class RefusedError(BoxError):
    """A batch broke its data contract and was refused as a whole."""

    exit_code = ExitCode.REFUSED
    code = "refused"


class GateError(BoxError):
    """A model version failed its gates and is kept as rejected."""

    exit_code = ExitCode.GATE
    code = "gate"


class BusyError(BoxError):
    """Somebody else holds what is needed: a port, a lock, a running box."""

    exit_code = ExitCode.BUSY
    code = "busy"


class UnavailableError(BoxError):
    """A server or process does not answer."""

    exit_code = ExitCode.UNAVAILABLE
    code = "unavailable"


class IntegrityError(BoxError):
    """Stored bytes, the ledger or the database are not what they were."""

    exit_code = ExitCode.INTEGRITY
    code = "integrity"


class StorageError(BoxError):
    """The disk is full, read-only or out of quota."""

    exit_code = ExitCode.STORAGE
    code = "storage"
