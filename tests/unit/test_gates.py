"""Gates: passed, failed, or not to be judged; never a guess."""

from __future__ import annotations

import pytest

from mlops_box.errors import ProjectError
from mlops_box.evaluation.compare import Comparison
from mlops_box.evaluation.gates import accepted, check_gates, check_slice_columns, failed, judge, parity_gate
from mlops_box.evaluation.slices import Slice
from mlops_box.models.values import GateResult
from mlops_box.project import Gates

PARITY = parity_gate(passed=True, message="the same", value=0.0, limit=1e-4)


def gates(**declared: object) -> Gates:
    return Gates.model_validate(declared)


def judged(
    declared: Gates,
    *,
    metrics: dict[str, float] | None = None,
    slices: tuple[Slice, ...] = (),
    comparison: Comparison | None = None,
    parity: GateResult = PARITY,
) -> dict[str, GateResult]:
    results = judge(
        declared,
        metrics={"mae": 60.0, "r2": 0.8} if metrics is None else metrics,
        slices=slices,
        comparison=comparison,
        parity=parity,
    )
    return {result.name: result for result in results}


def test_a_metric_gate_says_value_and_limit() -> None:
    good = judged(gates(mae={"max": 70}))["mae"]
    assert (good.passed, good.value, good.limit) == (True, 60.0, 70)
    bad = judged(gates(mae={"max": 50}))["mae"]
    assert (bad.passed, bad.value, bad.limit) == (False, 60.0, 50)
    assert bad.message == "mae is 60, above the limit 50"
    low = judged(gates(r2={"min": 0.9, "max": 1}))["r2"]
    assert (low.passed, low.limit) == (False, 0.9)
    assert judged(gates(mae={"max": 60}))["mae"].passed is True


def test_a_metric_that_cannot_be_computed_is_not_judged_and_does_not_let_in() -> None:
    results = judged(gates(auc={"min": 0.9}), metrics={"accuracy": 1.0})
    assert results["auc"].passed is None
    assert not accepted(results.values())
    assert [result.name for result in failed(results.values())] == ["auc"]


def test_the_first_version_has_no_champion_to_beat_and_may_serve() -> None:
    results = judged(gates(champion={"metric": "mae"}))
    assert results["champion"].passed is None
    assert "no champion yet" in results["champion"].message
    assert accepted(results.values())


@pytest.mark.parametrize(
    ("metric", "value", "rival", "margin", "passed"),
    [
        ("mae", 60.0, 60.0, 0.0, True),
        ("mae", 60.1, 60.0, 0.0, False),
        ("mae", 60.1, 60.0, 0.2, True),
        ("r2", 0.79, 0.80, 0.0, False),
        ("r2", 0.79, 0.80, 0.02, True),
        ("r2", 0.81, 0.80, 0.0, True),
    ],
)
def test_the_champion_gate_knows_which_way_is_better(
    metric: str, value: float, rival: float, margin: float, passed: bool
) -> None:
    declared = gates(champion={"metric": metric, "margin": margin})
    comparison = Comparison("bikes@3", 100, {metric: rival})
    result = judged(declared, metrics={metric: value}, comparison=comparison)["champion"]
    assert result.passed is passed
    assert "bikes@3" in result.message
    assert "same 100 rows" in result.message


def test_a_champion_that_cannot_be_run_on_these_rows_is_not_judged() -> None:
    comparison = Comparison("bikes@3", 0, {}, "it reads humidity, which the data no longer have")
    results = judged(gates(champion={"metric": "mae"}), comparison=comparison)
    assert results["champion"].passed is None
    assert "humidity" in results["champion"].message
    assert accepted(results.values())


def test_the_worst_slice_with_enough_rows_decides() -> None:
    slices = (
        Slice("day", "0", 100, {"mae": 90.0}),
        Slice("day", "1", 100, {"mae": 40.0}),
        Slice("day", "2", 5, {"mae": 900.0}),
        Slice("other", "0", 100, {"mae": 999.0}),
    )
    result = judged(gates(slice={"by": "day", "metric": "mae", "max_ratio": 1.4}), slices=slices)[
        "slice:day:mae"
    ]
    assert (result.passed, result.value) == (False, 1.5)
    assert "day is 0" in result.message
    fine = judged(gates(slice={"by": "day", "metric": "mae", "max_ratio": 1.5}), slices=slices)[
        "slice:day:mae"
    ]
    assert fine.passed is True
    few = judged(
        gates(slice={"by": "day", "metric": "mae", "max_ratio": 1.5, "min_rows": 500}), slices=slices
    )
    assert few["slice:day:mae"].passed is None


def test_a_slice_gate_on_a_metric_where_more_is_better_looks_for_the_lowest() -> None:
    slices = (Slice("day", "0", 100, {"r2": 0.4}), Slice("day", "1", 100, {"r2": 0.9}))
    result = judged(gates(slice=[{"by": "day", "metric": "r2", "min_ratio": 0.6}]), slices=slices)[
        "slice:day:r2"
    ]
    assert (result.passed, result.value) == (False, pytest.approx(0.5))


def test_a_wrong_export_never_serves() -> None:
    broken = parity_gate(passed=False, message="off by 11.6", value=11.6, limit=1e-4)
    results = judged(gates(), parity=broken)
    assert not accepted(results.values())


@pytest.mark.parametrize(
    ("declared", "task", "says", "hint"),
    [
        ({"maee": {"max": 1}}, "regression", "gates.maee", "did you mean 'mae'"),
        ({"mae": {"max": 1}}, "binary", "'mae' for task 'binary'", "auc"),
        ({"champion": {"metric": "rsme"}}, "regression", "gates.champion.metric", "did you mean 'rmse'"),
        (
            {"slice": {"by": "x", "metric": "f2", "max_ratio": 2}},
            "binary",
            "gates.slice.metric",
            "did you mean 'f1'",
        ),
        (
            {"slice": {"by": "x", "metric": "f1", "max_ratio": 2}},
            "binary",
            "needs min_ratio",
            "min_ratio = 0.8",
        ),
        ({"slice": {"by": "x", "metric": "mae"}}, "regression", "needs max_ratio", "max_ratio = 1.5"),
    ],
)
def test_a_gate_that_could_never_be_judged_is_refused_before_training(
    declared: dict[str, object], task: str, says: str, hint: str
) -> None:
    with pytest.raises(ProjectError) as caught:
        check_gates(gates(**declared), task)  # type: ignore[arg-type]
    assert says in caught.value.message
    assert hint in (caught.value.hint or "")


def test_a_slice_of_a_column_the_data_lack_is_refused() -> None:
    declared = gates(slice={"by": "workingdays", "metric": "mae", "max_ratio": 2})
    check_gates(declared, "regression")
    with pytest.raises(ProjectError) as caught:
        check_slice_columns(declared, ["workingday", "hr"])
    assert caught.value.hint == "did you mean 'workingday'?"
