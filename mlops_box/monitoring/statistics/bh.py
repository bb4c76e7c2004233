"""Many tests at once: the Benjamini-Hochberg procedure.

Source: Benjamini and Hochberg (1995), J. R. Stat. Soc. B 57.
"""

from __future__ import annotations

from collections.abc import Sequence


def adjusted_p_values(values: Sequence[float]) -> list[float]:
    """Each p-value as the smallest false discovery rate at which it would be a discovery.

    >>> adjusted_p_values([0.01, 0.04, 0.03])
    [0.03, 0.04, 0.04]
    """
    order = sorted(range(len(values)), key=lambda index: values[index], reverse=True)
    found = [1.0] * len(values)
    smallest = 1.0
    for place, index in enumerate(order):
        smallest = min(smallest, values[index] * len(values) / (len(values) - place))
        found[index] = smallest
    return found
