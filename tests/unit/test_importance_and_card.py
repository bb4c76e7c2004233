"""Permutation importance finds what matters; the card shows it safely."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from xml.etree import ElementTree

import numpy as np
import pytest

from mlops_box.data.values import Column, RuleHit, Snapshot, Verdict
from mlops_box.evaluation.calibration import Reliability, Residuals, reliability, residuals
from mlops_box.evaluation.card import CardFacts, Picture, describe_use, metric_lines, render_card
from mlops_box.evaluation.compare import Comparison
from mlops_box.evaluation.importance import Importance, permutation_importance
from mlops_box.evaluation.plots import calibration_plot, importance_plot, residual_plot
from mlops_box.evaluation.slices import Slice
from mlops_box.models.encode import Tensors
from mlops_box.models.runtime import Output
from mlops_box.models.values import Feature, GateResult, Signature

EVIL = "<script>alert('$x_1$ & \"1\"')</script>"
SIGNATURE = Signature(
    "regression",
    "y",
    (Feature("a", "numeric", "double"), Feature("b", "numeric", "double"), Feature(EVIL, "categorical", "varchar", ("x", EVIL))),
)  # fmt: skip


def test_importance_ranks_the_feature_that_the_model_uses() -> None:
    random = np.random.default_rng(1)
    numeric = random.normal(size=(500, 2)).astype(np.float32)
    text = random.choice(["x", "z"], size=(500, 1)).astype(object)

    def predict(tensors: Tensors) -> Output:
        assert tensors.numeric is not None
        assert tensors.text is not None
        return Output(prediction=3 * tensors.numeric[:, 0] + (tensors.text[:, 0] == "x"))

    tensors = Tensors(numeric, text)
    truth = np.asarray(predict(tensors).prediction, dtype=np.float64)
    before = numeric.copy()
    found = permutation_importance(
        predict, tensors, truth=truth, signature=SIGNATURE, metric="mae", seed=5, max_rows=300
    )
    assert [item.feature for item in found] == ["a", EVIL, "b"]
    assert found[0].mean > 2
    assert 0.3 < found[1].mean < 0.7
    assert found[2].mean == 0
    assert np.array_equal(numeric, before)
    again = permutation_importance(
        predict, tensors, truth=truth, signature=SIGNATURE, metric="mae", seed=5, max_rows=300
    )
    assert again == found


def test_calibration_bins_hold_the_observed_share() -> None:
    probability = np.array([0.1] * 10 + [0.9] * 10)
    happened = np.array([False] * 9 + [True] + [True] * 8 + [False] * 2)
    found = reliability(probability, happened, event="left = true", bins=2)
    assert [one.said for one in found.bins] == pytest.approx([0.1, 0.9])
    assert [one.seen for one in found.bins] == pytest.approx([0.1, 0.8])
    assert [one.rows for one in found.bins] == [10, 10]
    assert found.ece == pytest.approx((10 * 0.0 + 10 * 0.1) / 20)
    assert found.brier == pytest.approx((9 * 0.01 + 0.81 + 8 * 0.01 + 2 * 0.81) / 20)
    assert Reliability.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_residuals_are_told_by_predicted_value_with_about_as_many_rows_each() -> None:
    prediction = np.arange(200, dtype=np.float64)
    truth = prediction + np.where(prediction < 100, 1.0, 3.0)
    found = residuals(truth, prediction, target="y")
    assert [one.rows for one in found.bins] == [20] * 10
    assert found.mean == pytest.approx(2.0)
    assert found.errors == pytest.approx((1.0, 1.0, 2.0, 3.0, 3.0))
    assert [one.errors[2] for one in found.bins] == pytest.approx([1.0] * 5 + [3.0] * 5)
    assert all(one.seen - one.said == pytest.approx(one.errors[2]) for one in found.bins)
    assert Residuals.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_residuals_of_few_rows_or_one_prediction_are_one_bin() -> None:
    few = residuals(np.array([1.0, 2.0]), np.array([1.0, 1.5]), target="y")
    same = residuals(np.arange(500.0), np.full(500, 7.0), target="y")
    assert [one.rows for one in few.bins] == [2]
    assert [(one.said, one.rows) for one in same.bins] == [(7.0, 500)]


def test_plots_are_the_same_bytes_each_time_and_well_formed() -> None:
    random = np.random.default_rng(0)
    truth, prediction = random.normal(size=2000), random.normal(size=2000)
    errors = residuals(truth, prediction, target=EVIL)
    made = [residual_plot(truth, prediction, errors, seed=3) for _ in range(2)]
    assert made[0] == made[1]
    pictures = [
        made[0],
        importance_plot([Importance(EVIL, 1.0, 0.1)], metric="mae"),
        calibration_plot(reliability(random.uniform(size=50), random.uniform(size=50) < 0.5, event=EVIL)),
        calibration_plot(reliability(np.full(5, 0.5), np.array([True] * 5), event="constant")),
    ]
    for picture in pictures:
        ElementTree.fromstring(picture)
        assert "<script" not in picture
        assert "var(--accent)" in picture


def facts() -> CardFacts:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    verdict = Verdict(True, 103, 100, 2, 1, (RuleHit("a.max", 2),))
    snapshot = Snapshot(
        "ab" * 32, "bikes", 100, (Column("a", "double"),), "at", moment, moment, verdict, moment
    )
    return CardFacts(
        model="bikes",
        created_at=moment,
        accepted=True,
        intended_use=describe_use(EVIL, SIGNATURE, snapshot),
        signature=SIGNATURE,
        snapshot=snapshot,
        rows_train=80,
        rows_test=20,
        split="the newest 20 % by time",
        metric="mae",
        metrics={"mae": 1.5, "r2": 0.9},
        comparison=Comparison("bikes@1", 20, {"mae": 2.0, "r2": 0.95}),
        gates=(
            GateResult("mae", True, EVIL),
            GateResult("champion", False, "no"),
            GateResult("s", None, "?"),
        ),
        slices=(Slice(EVIL, EVIL, 10, {"mae": 1.0}), Slice("b", "1", 5, {})),
        importance=(Importance("a", 1.0, 0.0),),
        pictures=(Picture("Importance", EVIL, importance_plot([Importance("a", 1.0, 0.0)], metric="mae")),),
        lineage=(("git commit", EVIL),),
    )


def test_the_card_is_one_safe_file_with_everything_on_it() -> None:
    html = render_card(facts()).decode()
    assert render_card(facts()).decode() == html
    assert "<script" not in html
    assert "Content-Security-Policy" in html
    assert not re.search(r"""(?:src|href)=["']?(?!#)""", html.replace('xlink:href="#', ""))
    for text in ("a.max", "ab" * 32, "the newest 20 % by time", "bikes@1", "&lt;script&gt;", "var(--accent)"):
        assert text in html
    assert "{{" not in html


def test_the_metrics_table_says_which_way_is_better() -> None:
    mae, r2 = metric_lines({"mae": 1.5, "r2": 0.9}, Comparison("m@1", 20, {"mae": 2.0, "r2": 0.95}))
    assert (mae.better, mae.difference) == (True, -0.5)
    assert r2.better is False
    assert metric_lines({"mae": 1.5}, None)[0].better is None
