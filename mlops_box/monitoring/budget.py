"""From the false alarms a person accepts to the limits of the tests.

A person declares how many false pages a model may send (``[monitor] false_alarms = "1/month"``), not p-values. Where
the limits are calibrated, the Benjamini-Hochberg procedure calls a window without drift drifted with probability
``fdr`` at most, whatever the number of features (with every hypothesis true, its false discovery rate is the chance of
any discovery: Benjamini and Hochberg 1995). A page needs ``page_at`` such windows, so in a span of W windows there are
at most ``fdr * W / page_at`` false pages on average, however much neighbouring windows depend on each other. Hence
``fdr = page_at * budget / W``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from mlops_box.units import Rate

PAGE_OF = 3  # the newest judged windows that are looked at
_LARGEST_FDR = 0.05
# With fewer windows in the budget's span than this times its count, waiting for a second window costs more than it saves.
_SINGLE_BELOW = 20


@dataclass(frozen=True)
class Limits:
    """What a budget means for windows of one length.

    Attributes:
        fdr: Chance that a window without drift is called drifted.
        page_at: So many drifted windows of the newest ``PAGE_OF`` page.
    """

    fdr: float
    page_at: int


def limits_for(budget: Rate, window: timedelta) -> Limits:
    """The limits that keep a budget.

    >>> from mlops_box.units import parse_rate
    >>> limits_for(parse_rate("1/month"), timedelta(days=1))
    Limits(fdr=0.05, page_at=2)
    >>> round(limits_for(parse_rate("1/month"), timedelta(hours=1)).fdr, 5)
    0.00278
    >>> limits_for(parse_rate("1/month"), timedelta(days=28)).page_at
    1
    """
    windows = budget.per / window
    page_at = 1 if windows <= _SINGLE_BELOW * budget.count else 2
    return Limits(min(_LARGEST_FDR, page_at * budget.count / windows), page_at)
