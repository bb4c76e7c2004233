"""The monitor where the project declares event times: calibrated limits, persistence, sensors, revised windows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import monitor_case
import pytest
from monitor_case import MODEL, START, Case, rows

from mlops_box.models.values import BASELINE_FILE, ROWS_FILE
from mlops_box.operations.monitor import monitor
from mlops_box.operations.why import explain

TOML = monitor_case.TOML.replace('source = "data.csv"', 'source = "data.csv"\ntime = "at"').replace(
    "volume = {{", 'at = {{ type = "timestamp" }}\nvolume = {{', 1
)
# With the budget that is the default: two windows of three page.
TOML = TOML.replace('fdr = 0.00278\nfalse_alarms = "2/day"\n', "")
assert "false_alarms" not in TOML


def dated(hours: int, *, per_hour: int = 120) -> list[dict[str, Any]]:
    """Twenty hours and more before the clock begins, each with rows of its own."""
    return [
        row | {"at": (START - timedelta(hours=hour + 1) + timedelta(seconds=20 * place)).replace(tzinfo=None)}
        for hour in range(hours)
        for place, row in enumerate(rows(per_hour, seed=hour))
    ]


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    monkeypatch.setattr(monitor_case, "TOML", TOML)
    made = Case(tmp_path, retrain='mode = "off"')
    made.write(dated(20))
    made.train()
    yield made
    made.box.close()


def ask(case: Case, data: list[dict[str, Any]]) -> list[str]:
    """Each row with the clock's time."""
    now = case.clock.now().isoformat()
    return case.ask([row | {"at": now} for row in data])


def test_usual_hours_are_fine_and_the_finding_says_what_it_was_held_against(case: Case) -> None:
    version = case.box.models.get(MODEL)
    assert {BASELINE_FILE, ROWS_FILE} <= set(version.files)
    for seed in range(3):
        ask(case, rows(150, seed=100 + seed))
        case.pass_time(hours=1)
    windows = monitor(case.box).windows
    assert [window.drift.outcome for window in windows] == ["fine"] * 3
    assert all(window.drift.calibrated and window.drift.windows == 20 for window in windows)
    assert all(window.drift.joint is not None for window in windows)
    assert case.box.objects.read(windows[0].summary["rows_digest"])


def test_one_drifted_hour_is_noted_and_the_second_of_three_pages(case: Case) -> None:
    ask(case, rows(150, seed=50, shift=2.0))
    (first,) = monitor(case.box).alerts
    assert (first.change, first.alert.severity) == ("opened", "info")
    case.pass_time(hours=1)
    ask(case, rows(150, seed=51, shift=2.0))
    (second,) = monitor(case.box).alerts
    assert (second.change, second.alert.severity) == ("updated", "warning")
    assert "uncalibrated" not in second.alert.title
    acts = [entry.act for entry in case.box.ledger.entries(subject=f"alert:{first.alert.id}")]
    assert acts.count("alert.escalated") == 1
    told = "\n".join(explain(case.box, first.alert.id).lines)
    assert "2 of the newest 2 judged windows drifted; which pages" in told
    assert "calibrated on 20 earlier windows" in told


def test_another_window_length_than_at_training_is_uncalibrated_and_says_so(case: Case) -> None:
    file = case.folder / "mlops.toml"
    file.write_text(file.read_text().replace('window = "1h"', 'window = "2h"'))
    case.box.projects.register(case.project)
    ask(case, rows(150, seed=60, shift=2.0))
    outcome = monitor(case.box)
    assert "made for windows of" in outcome.windows[0].drift.uncalibrated
    assert outcome.alerts[0].alert.title.endswith("(uncalibrated)")
    assert outcome.to_dict()["windows"][0]["uncalibrated"]


def test_a_stuck_sensor_is_a_matter_of_the_data_and_no_drift(case: Case) -> None:
    ask(case, [row | {"power": 2.125} for row in rows(150, seed=70)])
    outcome = monitor(case.box)
    (window,) = outcome.windows
    assert window.data.faults == ("power",)
    assert "power: stuck: 100% of the values are 2.125" in window.data.reason
    assert "power" not in window.drift.drifted
    titles = {item.alert.kind: item.alert.title for item in outcome.alerts}
    assert "power: stuck" in titles["data"]
    assert "power" not in titles.get("drift", "")


def test_rows_that_break_the_contract_of_today_are_counted_by_rule(case: Case) -> None:
    data = rows(150, seed=80)
    ask(case, data)
    file = case.folder / "mlops.toml"
    file.write_text(
        file.read_text().replace('volume = { type = "double" }', 'volume = { type = "double", max = 1.5 }')
    )
    case.box.projects.register(case.project)
    (window,) = monitor(case.box).windows
    broken = sum(row["volume"] > 1.5 for row in data)
    assert window.data.violations == {"volume.max": broken}
    assert f"volume.max is broken by {broken} of 150 rows" in window.data.reason


def test_corrected_truth_revises_the_window_and_ends_its_alert(case: Case) -> None:
    data = rows(150, seed=90)
    ids = ask(case, data)
    case.pass_time(hours=3)
    case.tell(ids, [row["minutes"] * 3 for row in data])
    (raised,) = monitor(case.box).alerts
    assert (raised.change, raised.alert.kind) == ("opened", "quality")
    case.pass_time(hours=1)
    case.tell(ids, [row["minutes"] for row in data])
    (window,) = monitor(case.box).windows
    assert window.quality is not None
    assert window.quality.outcome == "fine"
    alert = case.box.alerts.get(raised.alert.id)
    assert alert.state == "resolved"
    reasons = [entry.facts["reason"] for entry in case.box.ledger.entries() if entry.act == "alert.resolved"]
    assert any("was revised and is fine" in reason for reason in reasons)


def test_traffic_that_breaks_off_is_a_matter_of_the_data_although_no_window_holds_a_row(case: Case) -> None:
    """The rows are as ever, and then there are none: no drift, no window, and not fine either."""
    for hour in range(17):
        ask(case, rows(40, seed=200 + hour))
        case.pass_time(hours=1)
    outcome = monitor(case.box)
    assert outcome.alerts == ()
    assert outcome.rates[MODEL].outcome == "fine"
    case.pass_time(hours=1)
    (opened,) = monitor(case.box).alerts
    assert (opened.change, opened.alert.kind, opened.alert.severity) == ("opened", "data", "info")
    assert "too few rows: no rows came" in opened.alert.title
    case.pass_time(hours=1)
    (paged,) = monitor(case.box).alerts
    assert (paged.change, paged.alert.severity) == ("updated", "warning")
    told = "\n".join(explain(case.box, paged.alert.id).lines)
    assert "2 of the newest 3 judged windows had an unusual number of rows; which pages" in told
    assert "rows in that window" in told
    ask(case, rows(40, seed=300))
    case.pass_time(hours=1)
    (calm,) = monitor(case.box).alerts
    assert calm.change == "resolved"


def test_too_little_history_of_traffic_is_said_and_is_not_fine(case: Case) -> None:
    for hour in range(3):
        ask(case, rows(40, seed=200 + hour))
        case.pass_time(hours=1)
    rate = monitor(case.box).rates[MODEL]
    assert rate.outcome == "cannot_tell"
    assert rate.uncalibrated == "1 earlier windows of traffic, 15 are needed"
