"""Versions as text: metrics, gates, what differs between two; shared by `train` and `models`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from mlops_box.cli.common import table

if TYPE_CHECKING:
    from mlops_box.operations.compare_versions import VersionDiff

_WIDTH = 40

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


def diff_text(found: VersionDiff) -> str:
    """What differs between two versions, a table a section."""
    sections = [
        ("metrics", found.metrics),
        ("gates", found.gates),
        ("features", found.features),
        ("environment", found.environment),
        ("lineage", found.lineage),
    ]
    parts = []
    for title, changes in sections:
        if changes:
            headers = [title.upper(), found.a, found.b]
            lines = [(change.what, *_shortened(change.a, change.b)) for change in changes]
            parts.append(table(headers, lines, empty=""))
        else:
            parts.append(f"{title}: no difference")
    if not found.same_rows:
        parts.append(
            "note: the two were measured on different held-out rows; their metrics alone do not say which is better"
        )
    return "\n\n".join(parts)


def _shortened(a: object, b: object) -> tuple[object, object]:
    """Long texts from where they begin to differ."""
    if not (isinstance(a, str) and isinstance(b, str)):
        return _short(a), _short(b)
    pairs = zip(a, b, strict=False)
    common = next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(a), len(b)))
    if max(len(a), len(b)) <= _WIDTH or common < 8:
        return _short(a), _short(b)
    start = max(common - 8, 0)
    return _short("…" + a[start:]), _short("…" + b[start:])


def _short(value: object) -> object:
    text = str(value)
    return (
        value
        if value is None or isinstance(value, float) or len(text) <= _WIDTH
        else text[: _WIDTH - 1] + "…"
    )
