"""The one place that imports whylogs.

whylogs 1.6.4 is frozen: it posts usage statistics to the domain of a company that no longer exists, and it asks numpy
for ``np.unicode_``, which numpy 2 removed. Both are mended here, without touching numpy itself.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import ModuleType
from typing import Any


class _NumpyWithUnicode:
    """numpy as whylogs expects it: every name of numpy, and the removed ``unicode_``."""

    def __init__(self, numpy: ModuleType):
        self._numpy = numpy
        self.unicode_ = numpy.str_

    def __getattr__(self, name: str) -> Any:
        return getattr(self._numpy, name)


@dataclass(frozen=True)
class Whylogs:
    """The few names of whylogs that this project uses."""

    ColumnProfileView: Any
    DatasetProfileView: Any
    DatasetSchema: Any
    PreprocessedColumn: Any


def load_whylogs() -> Whylogs:
    """Import whylogs with its telemetry off and its numpy names repaired; about half a second the first time.

    The opt-out must be in the environment before the first import: whylogs reads it once, at import.
    """
    os.environ["WHYLOGS_NO_ANALYTICS"] = "1"
    import numpy
    import whylogs.core.datatypes as datatypes
    from whylogs.core import DatasetSchema
    from whylogs.core.preprocessing import PreprocessedColumn
    from whylogs.core.view.column_profile_view import ColumnProfileView
    from whylogs.core.view.dataset_profile_view import DatasetProfileView

    if not isinstance(datatypes.np, _NumpyWithUnicode):
        datatypes.np = _NumpyWithUnicode(numpy)
    return Whylogs(ColumnProfileView, DatasetProfileView, DatasetSchema, PreprocessedColumn)
