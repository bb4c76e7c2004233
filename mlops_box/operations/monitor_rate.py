"""The rows of a model's traffic, window by window, held against earlier ones."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from mlops_box.box import Box
from mlops_box.operations.monitor_reference import limits_of
from mlops_box.operations.monitor_windows import Watched

if TYPE_CHECKING:
    from mlops_box.monitoring.rate import RateFinding


def judge_traffic(box: Box, watched: Watched) -> RateFinding:
    """Whether as many rows came as usual; a window in which none came is not stored anywhere, and counts.

    A window is judged once it is over and its rows have had the time to arrive that rows of this model take. All versions
    count together, whoever answered.
    """
    from mlops_box.monitoring.rate import judge_rate

    width = watched.monitor.window
    over = box.clock.now() - box.windows.arrival_delay(watched.model)
    return judge_rate(
        _filled(box.windows.traffic(watched.model, width), width, over), width, limits_of(watched.monitor)
    )


def _filled(
    counted: list[tuple[datetime, int]], width: timedelta, until: datetime
) -> list[tuple[datetime, int]]:
    """Every window from the first one that is whole to ``until``."""
    rows = dict(counted)
    # In the first one serving began, somewhere within it.
    begin = counted[0][0] + width if counted else until
    starts = (begin + place * width for place in range((until - begin) // width))
    return [(start, rows.get(start, 0)) for start in starts]
