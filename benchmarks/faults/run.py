"""kill -9 of a server under load, many times: what was acknowledged must be in the prediction log, with its answer.

``python benchmarks/faults/run.py --kills 1000``; every life is a real server process (``serve_alone``) asked over HTTP by
four clients at once: single rows as JSON, many rows as JSON, many rows as raw float32, and predictions with ground truth.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "services")]

from benchmarks.faults.lives import Acknowledged, Found, compare, forge, live_and_die  # noqa: E402
from benchmarks.machine import describe, table  # noqa: E402
from benchmarks.serving.model import MODEL, build_onnx, fill_box, make_row  # noqa: E402
from mlops_box.box import Box  # noqa: E402

RESULTS = Path(__file__).parent / "RESULTS.md"
LIVES_A_CHECK = 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="Stop after this time; the count says how far it came."
    )
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    machine = describe()
    sums: Counter[str] = Counter()
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        home = Path(folder) / "home"
        fill_box(home, build_onnx(1), make_row(1))
        os.environ.update(BENTOML_HOME=str(home / "bentoml"), BENTOML_DO_NOT_TRACK="true")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "services")])
        context, dice = forge(), random.Random(options.seed)
        while sums["kills"] < options.kills and time.monotonic() - started_s < options.minutes * 60:
            told = Acknowledged()
            lives = min(LIVES_A_CHECK, options.kills - sums["kills"])
            with Box.open(home, actor="benchmark") as box:
                for _ in range(lives):
                    live_and_die(context, home, dice, told)
                    if dice.random() < 0.3:
                        box.predictions.seal()
                found = _check(box, told, sums)
            sums.update(
                kills=lives, answers=len(told.answers), truths=len(told.truths), requests=told.requests
            )
            sums.update(vars(found))
            print(dict(sums), f"{time.monotonic() - started_s:.0f} s", flush=True)
    minutes = (time.monotonic() - started_s) / 60
    options.output.write_text(_report(sums, machine, options.seed, minutes))
    if (
        sums["missing"]
        or sums["different"]
        or sums["twice"]
        or sums["truths_missing"]
        or sums["broken_boxes"]
    ):
        raise SystemExit("acknowledged predictions were lost")


def _check(box: Box, told: Acknowledged, sums: Counter[str]) -> Found:
    """Seal what is there, compare, and begin the next lives with fresh tables."""
    sealed = box.predictions.seal()
    names = {segment.segment_id for segment in sealed} | {id_[:22] for id_ in told.answers}
    sums["torn_ends"] += sum("unfinished" in segment.note for segment in sealed)
    stored = box.predictions.predictions(MODEL)
    rows = [
        (id_, value)
        for id_, value in zip(stored["id"].to_pylist(), stored["prediction"].to_pylist(), strict=True)
        if id_[:22] in names
    ]
    truths = box.predictions.truth(MODEL, told.truths)
    whole = dict(zip(truths["id"].to_pylist(), truths["truth_number"].to_pylist(), strict=True))
    open_segments = box.db.read("SELECT COUNT(*) AS n FROM segments WHERE state <> 'sealed'")[0]["n"]
    sums["broken_boxes"] += int(box.ledger.first_broken() is not None or open_segments > 0)
    return compare(told, [id_ for id_, _ in rows], [value for _, value in rows], whole)


def _report(sums: Counter[str], machine: str, seed: int, minutes: float) -> str:
    rows = [
        ["kill -9 of a server under load", f"{sums['kills']:,}"],
        ["requests answered", f"{sums['requests']:,}"],
        ["predictions acknowledged", f"{sums['answers']:,}"],
        ["of these missing in the log", f"{sums['missing']:,}"],
        ["of these with another answer in the log", f"{sums['different']:,}"],
        ["ids that stand in the log twice", f"{sums['twice']:,}"],
        ["ground truths acknowledged", f"{sums['truths']:,}"],
        ["of these missing", f"{sums['truths_missing']:,}"],
        ["predictions logged that nobody was told (killed in between)", f"{sums['unasked']:,}"],
        ["segments whose last line was cut by the kill, and dropped", f"{sums['torn_ends']:,}"],
        ["boxes with a broken ledger or an unsealed segment afterwards", f"{sums['broken_boxes']:,}"],
    ]
    return "\n".join(
        [
            "# kill -9 under load", "",
            "Every life is a real server process, asked over HTTP by four clients at once (single rows as JSON, 2-39 rows as "
            "JSON, 2-39 rows as raw float32, rows with ground truth) and killed at a random moment: one in ten while it "
            "starts, the others within 0.25 s of the first answer.", "",
            table(["what", "count"], rows), "",
            f"{datetime.now(UTC):%Y-%m-%d}, {minutes:.1f} minutes. {machine}", "",
            f"Command: `python benchmarks/faults/run.py --kills {sums['kills']} --seed {seed}`", "",
            "A kill says nothing about a power cut: what fsync had not reached yet (at most the last second) may then be gone.", "",
        ]
    )  # fmt: skip


if __name__ == "__main__":
    main()
