"""An alert names what caused it, in the words its own makers write."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_box.operations.views.causes import MAX_CAUSES, Cause, causes_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
PARTS = ("runs", "refusal", "device", "troubles", "definitions")


@pytest.mark.parametrize(
    ("finding", "named"),
    [
        ({"runs": [{"id": "01r", "kind": "train", "state": "failed"}]}, [("run", "01r")]),
        ({"refusal": {"id": "01b", "at": "2026", "broken": ["rows"]}}, [("batch", "01b")]),
        (
            {"device": "gate-1", "troubles": [{"what": "x", "bad": "m@3, m@4", "serving": "m@2"}]},
            [("device", "gate-1"), ("version", "m@3"), ("version", "m@4")],
        ),
        ({"definitions": {"activity@2": "5f", "activity@3": "6a"}}, [("feature_view", "activity")]),
        ({"drift": {}, "window": {"key": "m@3"}}, []),
        ({}, []),
    ],
)
def test_each_kind_of_alert_names_its_causes_once(finding: dict[str, Any], named: list[Any]) -> None:
    assert [(cause.kind, cause.id) for cause in causes_of(finding)] == named


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(PARTS), JSON))
def test_a_finding_of_another_shape_names_only_texts_that_it_holds(finding: dict[str, Any]) -> None:
    found = causes_of(finding)
    assert len(set(found)) == len(found) <= MAX_CAUSES
    assert all(isinstance(cause, Cause) and cause.id for cause in found)


def test_a_hundred_runs_are_named_in_part() -> None:
    assert len(causes_of({"runs": [{"id": f"r{place}"} for place in range(100)]})) == MAX_CAUSES
