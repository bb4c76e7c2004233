"""Ending a process that a person interrupted, with the exit code that scripts expect."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

from mlops_box.errors import ExitCode


def end_interrupted() -> NoReturn:
    """Flush, and end this process with 130.

    ``sys.exit(130)`` is not enough: CPython remembers an interrupt that left an ``exec()`` of text (a dataclass made
    while importing is one) and then ends the process by SIGINT whatever the exit code says.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ExitCode.INTERRUPTED)
