"""Versions as text: metrics, gates, what differs between two; shared by `train` and `models`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from mlops_box.cli.common import printable, table

if TYPE_CHECKING:
    from mlops_box.operations.calibration import Calibration
    from mlops_box.operations.compare_versions import Change, VersionDiff

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


def calibration_text(found: Calibration) -> str:
    """Predicted against what came true, a line a bin."""
    if found.reliability is not None:
        said = found.reliability
        head = (
            f"  predicted: {printable(said.event)}; Brier score {said.brier:.4g}, "
            f"expected calibration error {said.ece:.4g}, {said.rows} rows"
        )
        lines = [(one.said, one.seen, one.rows) for one in said.bins]
        return f"{head}\n{table(['PREDICTED', 'OBSERVED', 'ROWS'], lines, empty='')}"
    if found.residuals is not None:
        from mlops_box.evaluation.calibration import QUANTILES

        errors = found.residuals
        head = (
            f"  true minus predicted {printable(errors.target)}: mean {errors.mean:.4g}, {errors.rows} rows"
        )
        spread = [(one.said, one.seen, one.rows, *one.errors) for one in errors.bins]
        headers = ["PREDICTED", "TRUE", "ROWS", *(f"ERROR {share:.0%}" for share in QUANTILES)]
        return f"{head}\n{table(headers, spread, empty='')}"
    return f"  {printable(found.problem or '?')}"


def diff_text(found: VersionDiff) -> str:
    """What differs between two versions, a table a section."""
    parts = [
        _diff_metrics(found),
        _section(found, "gates", found.gates),
        _diff_gates(found),
        _diff_slices(found),
        _diff_data(found),
        _diff_answers(found),
        _section(found, "features", found.features),
        _section(found, "environment", found.environment),
        _section(found, "lineage", found.lineage),
    ]
    if not found.same_rows:
        parts.append(
            "note: the two were measured on different held-out rows; their metrics alone do not say which is better"
        )
    return "\n\n".join(part for part in parts if part)


def _section(found: VersionDiff, title: str, changes: Sequence[Change]) -> str:
    if not changes:
        return f"{title}: no difference"
    headers = [title.upper(), found.a, found.b]
    return table(headers, [(item.what, *_shortened(item.a, item.b)) for item in changes], empty="")


def _diff_metrics(found: VersionDiff) -> str:
    lines = [(item.what, item.a, item.b, *_gain(found, item.what, item.a, item.b)) for item in found.metrics]
    return table(["METRICS", found.a, found.b, "DIFFERENCE", "BETTER"], lines, empty="metrics: none recorded")


def _gain(found: VersionDiff, metric: str, a: float | None, b: float | None) -> tuple[str, str | None]:
    from mlops_box.operations.compare_versions import better_side, difference

    apart, side = difference(a, b), better_side(metric, a, b)
    better = {"a": found.a, "b": found.b, "same": "same", None: None}[side]
    return ("" if apart is None else f"{apart:+.3g}"), better


def _diff_gates(found: VersionDiff) -> str:
    from mlops_box.operations.compare_versions import VERDICTS, margin

    lines = [
        (pair.name, ref, VERDICTS[gate.passed], gate.value, gate.limit, margin(gate))
        for pair in found.gate_values
        for ref, gate in ((found.a, pair.a), (found.b, pair.b))
        if gate is not None
    ]
    return table(["GATE", "VERSION", "VERDICT", "VALUE", "LIMIT", "MARGIN"], lines, empty="")


def _diff_slices(found: VersionDiff) -> str:
    lines = [
        (f"{part.by} {part.value}", part.metric, part.a, part.b, *_gain(found, part.metric, part.a, part.b))
        for part in found.slices
    ]
    headers = ["SLICE", "METRIC", found.a, found.b, "DIFFERENCE", "BETTER"]
    return table(headers, lines, empty="slices: none measured")


def _diff_data(found: VersionDiff) -> str:
    data = found.data
    return f"data: {data.finding.reason if data.finding else f'cannot be compared: {data.problem}'}"


def _diff_answers(found: VersionDiff) -> str:
    answers = found.answers
    if answers.problem is not None:
        return f"answers: cannot be compared: {answers.problem}"
    said = [f"answers: {answers.rows} rows ({answers.source})"]
    if answers.flipped is not None:
        said.append(f"{answers.flipped} with another label")
    if answers.mean_abs is not None and answers.max_abs is not None:
        said.append(f"absolute difference {answers.mean_abs:.4g} on average, {answers.max_abs:.4g} at most")
    if answers.not_finite:
        said.append(f"{answers.not_finite} without a finite answer")
    return ", ".join(said)


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
