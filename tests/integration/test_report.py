"""A model's life on one page, made from what really happened in a box."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
from monitor_case import MODEL, START, Case, rows

from mlops_box.errors import NotFoundError, StorageError
from mlops_box.operations.launch import DirectLauncher
from mlops_box.operations.monitor import monitor
from mlops_box.operations.report import write_picture, write_report


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    made = Case(tmp_path)
    made.train()
    yield made
    made.box.close()


def live(case: Case) -> None:
    """Six hours; from the fourth on the world is another one, and the box retrains."""
    for hour in range(6):
        shift, slope = (0.0, 2.0) if hour < 3 else (1.5, 4.0)
        case.ask(rows(200, seed=hour, shift=shift, slope=slope), truth=True)
        case.pass_time(hours=1)
        if hour == 3:
            case.write(rows(300, seed=1, shift=1.5, slope=4.0))
            monitor(case.box, launcher=DirectLauncher(case.box))
    monitor(case.box, launcher=DirectLauncher(case.box))


def test_the_page_tells_windows_versions_decisions_and_alerts(case: Case, tmp_path: Path) -> None:
    live(case)
    outcome = write_report(case.box, MODEL, out=tmp_path / "report.html")
    page = outcome.file.read_text()
    assert (outcome.windows, outcome.versions) == (6, 2)
    assert "kettles@2" in page
    assert "<svg" in page
    for name in ("volume", "power", "kind", "realised mae", "rows"):
        assert name in page
    for decision in case.box.decisions.list():
        assert decision.reason.replace(">", "&gt;").replace("'", "&#39;") in page
    for alert in case.box.alerts.list():
        assert alert.title in page


def test_the_page_asks_nobody_for_anything_and_runs_nothing(case: Case, tmp_path: Path) -> None:
    live(case)
    page = write_report(case.box, MODEL, out=tmp_path / "r.html").file.read_text()
    assert "<script" not in page
    outside = set(re.findall(r"https?://[^\"'\s)]+", page))
    assert all(address.startswith("http://www.w3.org/") for address in outside), outside


def test_a_hostile_name_stays_text(case: Case, tmp_path: Path) -> None:
    toml = case.folder / "mlops.toml"
    toml.write_text(
        toml.read_text().replace(
            'name = "kettles"', 'name = "kettles"\ndescription = "<img src=x onerror=alert(1)>"'
        )
    )
    case.box.projects.register(case.project)
    page = write_report(case.box, MODEL, out=tmp_path / "r.html").file.read_text()
    assert "<img" not in page
    assert "&lt;img src=x" in page


def test_a_model_that_nobody_asked_yet_has_a_page_that_says_so(case: Case, tmp_path: Path) -> None:
    page = write_report(case.box, "kettles", out=tmp_path / "r.html").file.read_text()
    assert "No window yet" in page
    assert "None: nothing asked for a retraining." in page


def test_only_the_time_asked_for(case: Case, tmp_path: Path) -> None:
    live(case)
    outcome = write_report(
        case.box, MODEL, out=tmp_path / "r.html", since=START + timedelta(hours=4, minutes=30)
    )
    assert outcome.windows == 2


def test_the_timeline_is_a_picture_of_its_own(case: Case, tmp_path: Path) -> None:
    live(case)
    outcome = write_picture(case.box, MODEL, out=tmp_path / "life.svg")
    root = ElementTree.fromstring(outcome.file.read_bytes())
    assert root.tag.endswith("svg")
    assert "--accent: #2563a8" in outcome.file.read_text()


def test_nothing_to_draw_is_said(case: Case, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no window to draw"):
        write_picture(case.box, MODEL, out=tmp_path / "life.svg")


def test_an_unknown_name_and_a_place_that_cannot_be_written_are_said(case: Case, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="neither a model nor a project"):
        write_report(case.box, "nothing", out=tmp_path / "r.html")
    with pytest.raises(StorageError, match="cannot be written"):
        write_report(case.box, MODEL, out=tmp_path / "none" / "r.html")
