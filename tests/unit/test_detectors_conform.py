"""What every detector of drift in a column must keep, whatever it measures; a new detector is found and held to it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mlops_box.monitoring.count_tables import count_window
from mlops_box.monitoring.detectors import registered
from mlops_box.monitoring.detectors.base import ColumnDetector
from mlops_box.monitoring.history import ColumnHistory
from mlops_box.monitoring.reference import Reference
from mlops_box.monitoring.reference_tables import reference_of

DETECTORS = registered()
ROWS = 1000


def columns(rng: np.random.Generator, rows: int, *, moved: bool = False) -> pa.Table:
    """A column of every kind that a reference tells apart; ``moved`` is another world in each of them."""
    shift = 3.0 if moved else 0.0
    gaps = rng.random(rows) < (0.6 if moved else 0.1)
    return pa.table(
        {
            "number": pa.array(rng.normal(shift, 1, rows), mask=gaps),
            "few": pa.array(rng.integers(0, 3, rows) + (2 if moved else 0), pa.int64(), mask=gaps),
            "word": pa.array(rng.choice(list("xyz" if moved else "abx"), rows), mask=gaps),
        }
    )


def cases(detector: ColumnDetector, reference: Reference) -> list[int]:
    return [place for place, column in enumerate(reference.columns) if detector.applies(column)]


@pytest.fixture(params=DETECTORS, ids=lambda detector: detector.name)
def detector(request: pytest.FixtureRequest) -> ColumnDetector:
    found: ColumnDetector = request.param
    return found


def test_names_are_unique_and_every_column_has_a_test_of_its_values() -> None:
    names = [detector.name for detector in DETECTORS]
    assert len(set(names)) == len(names) >= 3
    reference = reference_of(columns(np.random.default_rng(0), ROWS))
    for column in reference.columns:
        assert {found.name for found in DETECTORS if found.applies(column)} - {"missing"}


def test_the_reference_itself_is_no_drift(detector: ColumnDetector) -> None:
    table = columns(np.random.default_rng(0), ROWS)
    reference = reference_of(table)
    counts = count_window(reference, table)
    for place in cases(detector, reference):
        found = detector.compare(reference.columns[place], counts.columns[place], ROWS)
        assert found.effect is not None
        assert found.p is not None
        assert found.effect < 0.02
        assert found.p > 0.9


def test_the_same_world_has_honest_p_values(detector: ColumnDetector) -> None:
    rng = np.random.default_rng(1)
    small = []
    for _ in range(60):
        reference = reference_of(columns(rng, ROWS))
        counts = count_window(reference, columns(rng, 300))
        for place in cases(detector, reference):
            found = detector.compare(reference.columns[place], counts.columns[place], 300)
            assert found.p is not None
            assert 0 <= found.p <= 1
            small.append(found.p <= 0.05)
    assert np.mean(small) <= 0.1


def test_another_world_is_sure_and_large(detector: ColumnDetector) -> None:
    rng = np.random.default_rng(2)
    reference = reference_of(columns(rng, ROWS))
    counts = count_window(reference, columns(rng, 300, moved=True))
    for place in cases(detector, reference):
        found = detector.compare(reference.columns[place], counts.columns[place], 300)
        assert found.p is not None
        assert found.effect is not None
        assert found.p < 1e-6
        assert 0.3 < found.effect <= 1
        assert found.message


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_hardly_a_row_never_raises_and_is_never_sure(detector: ColumnDetector, rows: int) -> None:
    rng = np.random.default_rng(3)
    reference = reference_of(columns(rng, ROWS))
    counts = count_window(reference, columns(rng, rows))
    for place in cases(detector, reference):
        found = detector.compare(reference.columns[place], counts.columns[place], rows)
        assert found.p is None or found.p > 0.001
        assert found.message


def test_leaving_one_out_is_what_comparing_with_the_rest_would_say(detector: ColumnDetector) -> None:
    rng = np.random.default_rng(4)
    reference = reference_of(columns(rng, ROWS))
    windows = [count_window(reference, columns(rng, 200, moved=place == 3)) for place in range(6)]
    for place in cases(detector, reference):
        column = reference.columns[place]
        history = ColumnHistory.of([window.columns[place] for window in windows])
        effects = detector.leave_one_out(column, history)
        assert effects.shape == (6,)
        for out in range(6):
            rest = history.take([index for index in range(6) if index != out]).merged(column)
            found = detector.compare(rest, history.window(out, column), 200)
            assert found.effect == pytest.approx(effects[out])
        assert int(np.argmax(effects)) == 3
