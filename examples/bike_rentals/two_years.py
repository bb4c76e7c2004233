"""Two years unattended, in some minutes: the box with a clock of its own, an hour of rentals a request.

    python two_years.py --from hour.csv --home DIR

The first eight weeks of 2011 are history: they train the first model. Then week follows week: each hour is predicted by
the champion of that moment and logged, what really happened is told a day later, the week's rows are appended to the
source, and the monitor runs, in mode "auto", with a cooldown of two weeks and a budget of two retrainings a month, each of which learns from
the newest half year.
Nobody does anything. At the end `mlops-box report bike-rentals` shows what happened. No server and no orchestrator run here:
they would live in today's time; everything else is what they call.
"""

from __future__ import annotations

import argparse
import csv
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from replay import HERE, mean, row_of, write_csv

from mlops_box.box import Box
from mlops_box.clock import FixedClock
from mlops_box.ids import parse_ref
from mlops_box.monitoring.decisions import Decision
from mlops_box.operations.launch import DirectLauncher
from mlops_box.operations.monitor import monitor
from mlops_box.operations.report import write_picture, write_report
from mlops_box.operations.train import train
from mlops_box.project import LoadedProject, load_project
from mlops_box.serving.metrics import Metrics
from mlops_box.serving.prediction_log import PredictionLog
from mlops_box.serving.predictor import Predictor
from mlops_box.serving.router import Router
from mlops_box.serving.truth import TruthReader

MODEL = "bike-rentals"
BEGINS = datetime(2011, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
HISTORY_WEEKS = 8
# What differs from the project beside this file, which squeezes a year into minutes of real time.
UNATTENDED = {
    'window = "28d"': 'window = "7d"',
    "min_rows = 300": "min_rows = 100",
    'cooldown = "0s"': 'cooldown = "14d"\nbudget = "2/month"\nwindow = "sliding:182d"',
    "rows = { min = 1000 }": "rows = { min = 500 }",
    "mae = { max = 110 }": "mae = { max = 150 }",
    'ground_truth_delay = "1h"': 'ground_truth_delay = "1d"',
}


class TwoYears:
    """The box, its clock, and the weeks."""

    def __init__(self, home: Path, lines: list[dict[str, str]]):
        self.folder = home / "two_years_project"
        self.clock = FixedClock(BEGINS)
        self.box = Box.open(home, clock=self.clock, actor="two_years")
        self.lines = lines
        self._at = [_moment(line) for line in lines]
        self._make_project()

    @property
    def project(self) -> LoadedProject:
        return load_project(self.folder)

    def rows_before(self, moment: datetime) -> list[dict[str, str]]:
        return [line for line, at in zip(self.lines, self._at, strict=True) if at < moment]

    def rows_of(self, start: datetime) -> list[dict[str, str]]:
        return [line for line, at in zip(self.lines, self._at, strict=True) if start <= at < start + WEEK]

    def begin(self) -> str:
        """The first model, from the first weeks; returns its reference."""
        self._advance_to(BEGINS + HISTORY_WEEKS * WEEK)
        self._publish()
        return train(self.box, self.project).version.ref

    def live_week(self) -> tuple[str, list[float], list[str], list[Decision]]:
        """One week; (who answered, its absolute errors, alerts opened, decisions that were not withheld)."""
        start = self.clock.now()
        answered, errors = self._answer(self.rows_of(start))
        self._advance_to(start + WEEK)
        self._publish()
        outcome = monitor(self.box, launcher=DirectLauncher(self.box))
        opened = [item.alert.kind for item in outcome.alerts if item.change == "opened"]
        return answered, errors, opened, [item for item in outcome.decisions if item.state != "withheld"]

    def error_of(self, ref: str, since: datetime) -> float:
        """What the error would have been, had one version answered every hour since."""
        slot = Router(self.box.db, self.box.models, self.box.projects).load(parse_ref(ref))
        lived = [
            line for line, at in zip(self.lines, self._at, strict=True) if since <= at < self.clock.now()
        ]
        answers = slot.run([row_of(line) for line in lived]).predictions
        return mean([abs(p - int(line["cnt"])) for p, line in zip(answers, lived, strict=True)])

    def _answer(self, week: list[dict[str, str]]) -> tuple[str, list[float]]:
        """Predict the week's hours as the server does it, each logged at its time; then tell the truth."""
        log = PredictionLog(self.box.home.predictions, self.box.db, self.clock)
        try:
            predictor = Predictor(log, self.clock, Metrics())
            slot = Router(self.box.db, self.box.models, self.box.projects).load(parse_ref(MODEL))
            reader = TruthReader(slot.version.signature)
            errors = []
            for line in week:
                self._advance_to(_moment(line))
                reply = predictor.predict_now(slot, [row_of(line)], "champion")
                truth = int(line["cnt"])
                predictor.store_truth(MODEL, reader.read_all([(reply.ids[0], truth)]))
                errors.append(abs(reply.answers.predictions[0] - truth))
        finally:
            log.close()
        return slot.ref, errors

    def _advance_to(self, moment: datetime) -> None:
        if moment > self.clock.now():
            self.clock.advance(moment - self.clock.now())

    def _publish(self) -> None:
        """The source as it is known now."""
        write_csv(self.folder / "data" / "hour.csv", self.rows_before(self.clock.now()))

    def _make_project(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        text = (HERE / "mlops.toml").read_text(encoding="utf-8")
        for old, new in UNATTENDED.items():
            assert old in text, f"mlops.toml lacks {old}"
            text = text.replace(old, new)
        (self.folder / "mlops.toml").write_text(text, encoding="utf-8")
        (self.folder / "train.py").write_text(
            (HERE / "train.py").read_text(encoding="utf-8"), encoding="utf-8"
        )


def _moment(line: dict[str, str]) -> datetime:
    return datetime.fromisoformat(f"{line['dteday']}T{int(line['hr']):02d}:00:00+00:00")


def _told(decision: Decision) -> str:
    result: Any = decision.facts.get("version") or decision.facts.get("result") or ""
    promoted = "promoted" if decision.facts.get("promoted") else "not promoted"
    return f"{decision.trigger}: {str(result).rpartition('@')[2]} {promoted if result else decision.state}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--from", dest="source", type=Path, required=True, help="the whole hour.csv")
    parser.add_argument("--home", type=Path, required=True, help="a new box's home; two years fill it")
    parser.add_argument("--weeks", type=int, default=96, help="how many weeks to live")
    options = parser.parse_args()
    if (options.home / "box.db").exists():
        sys.exit(f"{options.home} holds a box already; name a new folder")
    with options.source.open(newline="", encoding="utf-8-sig") as file:
        lines = list(csv.DictReader(file))
    life = TwoYears(options.home.absolute(), lines)
    first, lived_from = life.begin(), life.clock.now()
    lived: list[float] = []
    print(f"{first} is the first champion, from {HISTORY_WEEKS} weeks\n")
    print(f"{'week of':12} {'answered by':16} {'MAE':>6}  {'alerts':22} retrainings")
    for _ in range(options.weeks):
        start = life.clock.now()
        if not life.rows_of(start):
            break
        answered, errors, opened, decisions = life.live_week()
        lived += errors
        print(
            f"{start:%Y-%m-%d}   {answered:16} {mean(errors):6.1f}  {', '.join(opened) or '-':22} "
            f"{', '.join(_told(item) for item in decisions) or '-'}",
            flush=True,
        )
    page = write_report(life.box, MODEL, out=options.home.absolute() / "report.html")
    write_picture(life.box, MODEL, out=options.home.absolute() / "timeline.svg")
    print(
        f"\n{page.versions} versions, {page.windows} windows: {page.file}\n"
        f"mean absolute error over {len(lived)} hours: {mean(lived):.1f} as lived, "
        f"{life.error_of(first, lived_from):.1f} had {first} answered them all"
    )
    life.box.close()


if __name__ == "__main__":
    main()
