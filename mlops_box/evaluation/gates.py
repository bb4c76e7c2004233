"""Gates: what a version must pass to serve. A verdict is passed, failed, or ``None``: it could not be judged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mlops_box.errors import ProjectError
from mlops_box.evaluation.compare import Comparison
from mlops_box.evaluation.metrics import HIGHER_IS_BETTER, METRICS, better_by, unknown_metric
from mlops_box.evaluation.slices import Slice
from mlops_box.models.values import GateResult
from mlops_box.project import ChampionGate, Gates, MetricGate, SliceGate, Task

PARITY = "parity"
CHAMPION = "champion"


def check_gates(gates: Gates, task: Task) -> None:
    """Refuse a gate that could never be judged, before anything is trained.

    Raises:
        ProjectError: A metric that the task does not have, or a slice gate without a bound that can bind.
    """
    named = [(f"gates.{metric}", metric) for metric in gates.metrics]
    if gates.champion:
        named.append(("gates.champion.metric", gates.champion.metric))
    named += [("gates.slice.metric", gate.metric) for gate in gates.slice]
    for key, metric in named:
        hint = unknown_metric(metric, task)
        if hint is not None:
            raise ProjectError(
                f"mlops.toml: {key}: there is no metric {metric!r} for task {task!r}", hint=hint
            )
    for gate in gates.slice:
        wanted = "min_ratio" if gate.metric in HIGHER_IS_BETTER else "max_ratio"
        if getattr(gate, wanted) is None:
            direction = "higher" if gate.metric in HIGHER_IS_BETTER else "lower"
            raise ProjectError(
                f"mlops.toml: gates.slice by {gate.by!r}: {gate.metric} is better when {direction}, "
                f"so it needs {wanted}",
                hint=f"write {wanted} = {0.8 if wanted == 'min_ratio' else 1.5}",
            )


def check_slice_columns(gates: Gates, columns: Sequence[str]) -> None:
    """Raises :class:`ProjectError` when a slice gate names a column that the data lack."""
    import difflib

    for gate in gates.slice:
        if gate.by not in columns:
            near = difflib.get_close_matches(gate.by, columns, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the data have: {', '.join(columns[:20])}"
            raise ProjectError(f"mlops.toml: gates.slice.by: the data have no column {gate.by!r}", hint=hint)


def judge(
    gates: Gates,
    *,
    metrics: dict[str, float],
    slices: Sequence[Slice],
    comparison: Comparison | None,
    parity: GateResult,
) -> tuple[GateResult, ...]:
    """The verdict of every declared gate, and of parity, which is always one.

    Args:
        gates: As declared.
        metrics: On the held-out rows.
        slices: At least those by the columns of the slice gates.
        comparison: ``None`` when the model has no champion yet.
        parity: Whether the export answers as the trained model does.
    """
    found = [parity]
    found += [_metric(name, gate, metrics.get(name)) for name, gate in sorted(gates.metrics.items())]
    if gates.champion:
        found.append(_champion(gates.champion, metrics, comparison))
    found += [_slice(gate, metrics.get(gate.metric), slices) for gate in gates.slice]
    return tuple(found)


def parity_gate(*, passed: bool, message: str, value: float | None, limit: float | None) -> GateResult:
    """The verdict on export parity as a gate; ``value`` and ``limit`` are shares of rows that answer otherwise."""
    return GateResult(PARITY, passed, message, value, limit)


def accepted(results: Iterable[GateResult]) -> bool:
    """May the version serve? Nothing failed; and only a comparison (champion, slice) may be left unjudged."""
    metrics = {name for names in METRICS.values() for name in names}
    return all(
        result.passed or (result.passed is None and result.name not in metrics and result.name != PARITY)
        for result in results
    )


def failed(results: Iterable[GateResult]) -> tuple[GateResult, ...]:
    """The gates that keep a version from serving."""
    return tuple(result for result in results if not accepted([result]))


def _metric(name: str, gate: MetricGate, value: float | None) -> GateResult:
    limit = gate.max if gate.max is not None else gate.min
    if value is None:
        return GateResult(name, None, f"{name} cannot be computed on the held-out rows", None, limit)
    if gate.max is not None and value > gate.max:
        return GateResult(
            name, False, f"{name} is {value:.6g}, above the limit {gate.max:.6g}", value, gate.max
        )
    if gate.min is not None and value < gate.min:
        return GateResult(
            name, False, f"{name} is {value:.6g}, below the limit {gate.min:.6g}", value, gate.min
        )
    bounds = [f"at least {gate.min:.6g}"] if gate.min is not None else []
    bounds += [f"at most {gate.max:.6g}"] if gate.max is not None else []
    return GateResult(name, True, f"{name} is {value:.6g} ({' and '.join(bounds)})", value, limit)


def _champion(gate: ChampionGate, metrics: dict[str, float], comparison: Comparison | None) -> GateResult:
    value = metrics.get(gate.metric)
    if comparison is None:
        return GateResult(CHAMPION, None, "there is no champion yet to compare with", value, None)
    if comparison.problem is not None:
        message = f"{comparison.champion} cannot be compared: {comparison.problem}"
        return GateResult(CHAMPION, None, message, value, None)
    rival = comparison.metrics.get(gate.metric)
    if value is None or rival is None:
        message = f"{gate.metric} cannot be computed on the held-out rows"
        return GateResult(CHAMPION, None, message, value, None)
    sign = -1 if gate.metric in HIGHER_IS_BETTER else 1
    limit = rival + sign * gate.margin
    passed = better_by(gate.metric, value, limit) >= 0
    margin = f" and margin {gate.margin:.6g}" if gate.margin else ""
    message = (
        f"{gate.metric} is {value:.6g}, {'not worse' if passed else 'worse'} than {comparison.champion} with "
        f"{rival:.6g} on the same {comparison.rows} rows{margin}"
    )
    return GateResult(CHAMPION, passed, message, value, limit)


def _slice(gate: SliceGate, overall: float | None, slices: Sequence[Slice]) -> GateResult:
    """Judged by the worst slice that has enough rows; ``value`` is its ratio to the overall metric."""
    name = f"slice:{gate.by}:{gate.metric}"
    higher = gate.metric in HIGHER_IS_BETTER
    limit = gate.min_ratio if higher else gate.max_ratio
    judged = [
        part
        for part in slices
        if part.by == gate.by and part.rows >= gate.min_rows and gate.metric in part.metrics
    ]
    if not judged:
        message = f"no slice of {gate.by} has {gate.min_rows} rows on which {gate.metric} can be computed"
        return GateResult(name, None, message, None, limit)
    if overall is None or overall <= 0 or limit is None:
        return GateResult(name, None, f"the overall {gate.metric} allows no ratio", None, limit)
    pick = min if higher else max
    worst = pick(judged, key=lambda part: part.metrics[gate.metric])
    ratio = worst.metrics[gate.metric] / overall
    passed = ratio >= limit if higher else ratio <= limit
    message = (
        f"{gate.metric} where {gate.by} is {worst.value} is {worst.metrics[gate.metric]:.6g}, {ratio:.3g} times the "
        f"overall {overall:.6g} ({'at least' if higher else 'at most'} {limit:.3g} times; {worst.rows} rows)"
    )
    return GateResult(name, passed, message, ratio, limit)
