"""kill -9 of real servers under load: no prediction and no ground truth that was acknowledged is missing.

The same lives as in ``benchmarks/faults``, which takes a thousand of them: four clients at once, rows as JSON and as raw
float32, killed at a random moment, some of them while they start.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.faults.lives import Acknowledged, compare, forge, live_and_die
from benchmarks.serving.model import MODEL, build_onnx, fill_box, make_row
from mlops_box.box import Box

KILLS = 20


@pytest.mark.slow
def test_nothing_acknowledged_is_missing_after_20_kills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    fill_box(home, build_onnx(1), make_row(1))
    monkeypatch.setenv("BENTOML_HOME", str(home / "bentoml"))
    monkeypatch.setenv("BENTOML_DO_NOT_TRACK", "true")
    dice, told, servers = random.Random(7), Acknowledged(), forge()
    with Box.open(home, actor="tester") as box:
        for _ in range(KILLS):
            live_and_die(servers, home, dice, told)
            if dice.random() < 0.5:
                box.predictions.seal()
        box.predictions.seal()
        stored, truths = box.predictions.predictions(MODEL), box.predictions.truth(MODEL)
        found = compare(
            told,
            stored["id"].to_pylist(),
            stored["prediction"].to_pylist(),
            dict(zip(truths["id"].to_pylist(), truths["truth_number"].to_pylist(), strict=True)),
        )
        assert len(told.answers) > 10 * KILLS
        assert told.truths
        assert (found.missing, found.different, found.twice, found.truths_missing) == (0, 0, 0, 0)
        assert box.ledger.first_broken() is None
        assert box.db.read("SELECT COUNT(*) AS n FROM segments WHERE state <> 'sealed'") == [{"n": 0}]
        # A server that was killed between making a file and telling of it leaves one that nothing was answered from.
        known = {row["id"] for row in box.db.read("SELECT id FROM segments")}
        assert [path.name for path in box.home.predictions.iterdir() if path.stem in known] == []
