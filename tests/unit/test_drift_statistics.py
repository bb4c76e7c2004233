"""Each statistic against an independent computation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mlops_box.monitoring.statistics.bh import adjusted_p_values
from mlops_box.monitoring.statistics.chi2 import chi2_two_sample
from mlops_box.monitoring.statistics.js import js_distance
from mlops_box.monitoring.statistics.ks import ks_distance, ks_p_value
from mlops_box.monitoring.statistics.proportions import share_p_value
from mlops_box.monitoring.statistics.psi import psi
from mlops_box.monitoring.statistics.wasserstein import wasserstein


def counts(values: np.ndarray, edges: np.ndarray) -> list[int]:
    return np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1).tolist()


def test_ks_on_shared_edges_is_the_ks_of_the_samples() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, 30, 900), rng.integers(3, 33, 400)
    edges = np.arange(-1, 33)
    expected = stats.ks_2samp(left, right, method="asymp")
    distance = ks_distance(counts(left, edges), counts(right, edges))
    assert distance == pytest.approx(expected.statistic)
    assert ks_p_value(distance, 900, 400) == pytest.approx(expected.pvalue, rel=0.3)


@pytest.mark.parametrize("distance", [0.03, 0.06, 0.1])
def test_ks_p_values_follow_the_limit_distribution(distance: float) -> None:
    root = np.sqrt(5000 * 5000 / 10_000)
    assert ks_p_value(distance, 5000, 5000) == pytest.approx(stats.kstwobign.sf(root * distance), rel=0.1)


def test_the_error_of_a_sketch_is_taken_off_before_judging() -> None:
    assert ks_p_value(0.004, 10**6, 10**6) < 1e-6
    assert ks_p_value(0.004, 10**6, 10**6, error=0.0054) == 1.0


def test_chi2_is_that_of_a_contingency_table() -> None:
    left, right = [500, 300, 200], [180, 150, 70]
    result = chi2_two_sample(left, right)
    assert result is not None
    assert result.p == pytest.approx(stats.chi2_contingency([left, right], correction=False).pvalue)


def test_cramers_v_does_not_shrink_when_a_small_window_meets_a_big_reference() -> None:
    small = chi2_two_sample([500, 500], [300, 200])
    big = chi2_two_sample([500_000, 500_000], [300, 200])
    assert small is not None
    assert big is not None
    assert big.effect == pytest.approx(0.1, abs=0.01)
    assert small.effect == pytest.approx(big.effect, abs=0.01)


def test_a_new_value_is_seen_however_big_the_reference_is() -> None:
    result = chi2_two_sample([600_000, 400_000, 0], [180, 110, 10])
    assert result is not None
    assert result.p < 1e-20
    assert result.effect > 0.1
    constant = chi2_two_sample([1_000_000, 0], [200, 90])
    assert constant is not None
    assert constant.p < 1e-100


def test_one_odd_row_is_no_drift() -> None:
    result = chi2_two_sample([1_000_000, 0], [299, 1])
    assert result is not None
    assert result.effect < 0.1


def test_a_constant_category_is_fine_and_all_different_values_cannot_be_compared() -> None:
    same = chi2_two_sample([1000], [300])
    assert same is not None
    assert (same.p, same.effect) == (1.0, 0.0)
    assert chi2_two_sample([1] * 500, [0] * 500) is None
    assert chi2_two_sample([1, 2], [0, 0]) is None


def test_shares_of_missing_values() -> None:
    table = [[50, 950], [40, 360]]
    expected = stats.chi2_contingency(table, correction=True).pvalue
    assert share_p_value(50, 1000, 40, 400) == pytest.approx(expected, rel=0.05)
    assert share_p_value(0, 1000, 0, 400) == 1.0
    assert share_p_value(1000, 1000, 400, 400) == 1.0


def test_effect_sizes_of_equal_and_of_disjoint_shares() -> None:
    equal, other = np.array([500.0, 500.0, 0.0]), np.array([0.0, 0.0, 700.0])
    assert js_distance(equal, equal) == 0
    assert js_distance(equal, other) == pytest.approx(1)
    assert psi(equal, equal) == 0
    assert psi(equal, other) > 5


def test_wasserstein_is_the_mean_shift_in_standard_deviations() -> None:
    rng = np.random.default_rng(2)
    left = rng.normal(size=200_000)
    right = left + 0.1
    edges = np.concatenate([[left.min() - 1e-9], np.quantile(left, np.linspace(0.01, 1, 100))])
    found = wasserstein(
        edges, counts(left, edges), counts(right, edges), std=float(left.std()), discrete=False
    )
    assert found == pytest.approx(0.1, abs=0.02)
    dice, loaded = rng.integers(1, 7, 60_000), rng.integers(2, 8, 60_000)
    faces = np.array([0.5, 1, 2, 3, 4, 5, 6])
    found = wasserstein(
        faces, counts(dice, faces), counts(loaded, faces), std=float(dice.std()), discrete=True
    )
    clipped = stats.wasserstein_distance(dice, np.minimum(loaded, 6)) / dice.std()
    assert found == pytest.approx(clipped, abs=0.02)
    assert wasserstein([0.9, 1.0], [0, 5, 0], [0, 5, 0], std=0.0, discrete=True) is None


def test_benjamini_hochberg_as_in_scipy() -> None:
    values = [0.001, 0.2, 0.01, 0.04, 1.0, 0.04]
    assert adjusted_p_values(values) == pytest.approx(stats.false_discovery_control(values).tolist())
    assert adjusted_p_values([]) == []


def test_a_window_whose_frequent_values_the_reference_never_had_is_surely_another_one() -> None:
    rare = [1.0] * 30
    found = chi2_two_sample([*rare, 0.0], [*([0.0] * 30), 200.0])
    assert found is not None
    assert found.p < 1e-6
    assert found.effect > 0.9
    mirrored = chi2_two_sample([*([0.0] * 30), 200.0], [*rare, 0.0])
    assert mirrored is not None
    assert mirrored.p < 1e-6
