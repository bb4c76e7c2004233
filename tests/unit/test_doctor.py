"""The doctor finds what is wrong and says what to type."""

from __future__ import annotations

import importlib.metadata
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlops_box.box import Box
from mlops_box.clock import FixedClock, SystemClock
from mlops_box.home import Home
from mlops_box.operations.doctor import installation, place


def test_this_installation_is_fit() -> None:
    assert installation.check_python().verdict == "ok"
    assert [check.verdict for check in installation.check_packages()] == ["ok"]
    assert installation.check_sqlite().verdict == "ok"


@pytest.mark.parametrize(
    ("package", "version", "consequence"),
    [
        ("sqlalchemy", "2.1.9", "never creates a scheduled run"),
        ("fastapi", "0.165.0", "fails when it is imported"),
    ],
)
def test_a_package_known_to_break_prefect_is_named_with_what_it_breaks(
    monkeypatch: pytest.MonkeyPatch, package: str, version: str, consequence: str
) -> None:
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: version if name.lower() == package else real(name)
    )
    (check,) = installation.check_packages()
    assert check.verdict == "failed"
    assert consequence in check.message
    assert check.mend is not None
    assert check.mend.startswith("pip install")


def test_what_does_not_import_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(installation._IMPORTS, "the data engine", "import no_such_engine")
    check = installation.check_import("the data engine")
    assert check.verdict == "failed"
    assert "no_such_engine" in check.message


def test_a_file_in_the_homes_place_and_an_open_home_are_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert place.check_home(Home(tmp_path / "file" / "home")).verdict == "failed"
    (tmp_path / "open").mkdir(mode=0o755)
    check = place.check_home(Home(tmp_path / "open"))
    assert (check.verdict, check.mend) == ("warning", f"chmod 700 {tmp_path / 'open'}")
    assert place.check_home(Home(tmp_path / "new")).verdict == "ok"
    assert not (tmp_path / "new").exists()


def test_a_clock_behind_the_ledger_is_found(box: Box) -> None:
    box.ledger.record("test", "x")
    assert place.check_clock(box.home, SystemClock()).verdict == "ok"
    behind = FixedClock(datetime.now(UTC) - timedelta(days=1))
    check = place.check_clock(box.home, behind)
    assert check.verdict == "failed"
    assert "ledger" in check.message


def test_a_run_left_over_is_found_and_not_touched(box: Box) -> None:
    run = box.runs.begin("train", "bikes", trigger="manual")
    assert place.check_box(box.home, SystemClock()).verdict == "ok"
    with box.db.write() as tx:
        tx.execute("UPDATE runs SET pid_started = pid_started - 1 WHERE id = ?", (run.id,))
    assert place.check_box(box.home, SystemClock()).verdict == "warning"
    assert box.runs.get(run.id).state == "running"


def test_a_users_prefect_that_does_not_answer_is_found() -> None:
    check = place.check_prefect({"PREFECT_API_URL": "http://127.0.0.1:9/api"})
    assert check.verdict == "failed"
    assert place.check_prefect({}).verdict == "ok"
    assert json.dumps(check.to_dict())
