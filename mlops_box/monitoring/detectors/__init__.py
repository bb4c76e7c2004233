"""One detector of drift in a column a file; a new file here is found by itself.

A module defines ``DETECTOR``, a :class:`~mlops_box.monitoring.detectors.base.ColumnDetector`. The conformance suite
(``tests/unit/test_detectors_conform.py``) runs over every one of them.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_box.monitoring.detectors.base import ColumnDetector


@cache
def registered() -> tuple[ColumnDetector, ...]:
    """Every detector, by the order in which they are shown and then by name."""
    modules = [
        importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)
    ]
    found = [module.DETECTOR for module in modules if hasattr(module, "DETECTOR")]
    return tuple(sorted(found, key=lambda detector: (detector.order, detector.name)))
