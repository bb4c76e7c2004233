"""Metrics and gates of a version as text; shared by `train` and `models`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from mlops_box.cli.common import table

_MARKS = {True: ("✓", "green"), False: ("✗", "red"), None: ("?", "yellow")}


def metrics_text(metrics: Mapping[str, float], champion: Mapping[str, Any] | None) -> str:
    """The metrics, beside the champion's on the same rows where there was one."""
    from mlops_box.evaluation.metrics import METRICS, better_by

    order = [name for names in METRICS.values() for name in names]
    metrics = dict(sorted(metrics.items(), key=lambda item: order.index(item[0])))
    rivals: Mapping[str, float] = (champion or {}).get("metrics") or {}
    if not champion or not rivals:
        return table(["METRIC", "VALUE"], list(metrics.items()), empty="no metric could be computed")
    lines: list[tuple[object, ...]] = []
    for name, value in metrics.items():
        rival = rivals.get(name)
        if rival is None:
            lines.append((name, value, None, None, ""))
            continue
        gain = better_by(name, value, rival)
        verdict = "same" if abs(gain) < 1e-12 else "better" if gain > 0 else "worse"
        lines.append((name, value, rival, f"{value - rival:+.3g}", verdict))
    headers = ["METRIC", "THIS", str(champion["champion"]), "DIFFERENCE", ""]
    return table(headers, lines, empty="no metric could be computed")


def gates_text(gates: Sequence[Mapping[str, Any]]) -> str:
    """One line a gate: passed, failed or not to be judged, and why."""
    lines = []
    for gate in gates:
        mark, colour = _MARKS[gate["passed"]]
        message = "".join(letter if letter.isprintable() else "�" for letter in str(gate["message"]))
        lines.append(f"  {click.style(mark, fg=colour)} {gate['name']}: {message}")
    return "\n".join(lines) if lines else "  none declared"
