"""Materialising brings files and the online store up to date, whatever was interrupted, late or changed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlops_box.box import Box
from mlops_box.errors import NotFoundError
from mlops_box.features.compute import observations
from mlops_box.features.define import Defined, define
from mlops_box.features.definition import Definition
from mlops_box.operations.backup import backup
from mlops_box.operations.features.lookup import look_up
from mlops_box.operations.features.materialize import materialize
from mlops_box.operations.features.push import push
from mlops_box.operations.features.status import features_status
from mlops_box.progress import SilentProgress
from mlops_box.project import LoadedProject, load_project
from tests.feature_case import ACTIVITY, write_cards


class Case:
    """A box with a project of cards whose views are registered."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.project: LoadedProject = write_cards(folder / "project", payments=120)
        self.box = Box.open(folder / "home", actor="test")
        self.defined = self.register()

    def register(self) -> Defined:
        self.project = load_project(self.project.folder)
        self.box.projects.register(self.project)
        defined = define(self.project, scratch=self.folder / "scratch")
        for definition in defined.definitions.values():
            self.box.features.register(definition)
        self.defined = defined
        return defined

    @property
    def definition(self) -> Definition:
        return self.box.features.get("activity")

    def history(self, definition: Definition | None = None) -> list[dict[str, Any]]:
        """What is in the files; of one entity, time and knowledge the last counts."""
        archive, wanted = self.box.feature_archive, definition or self.definition
        tables = [archive.read(file) for file in archive.files(wanted)]
        rows = pa.concat_tables(tables).to_pylist() if tables else []
        return sorted_rows({(row["card_id"], row["time"], row["known"]): row for row in rows}.values())

    def computed(self) -> list[dict[str, Any]]:
        """What one computation over the files' events gives."""
        definition = self.definition
        events = {source.name: [self.defined.sources[source.name].events] for source in definition.sources}
        found = observations(definition, events, scratch=self.folder / "scratch")
        return sorted_rows(found.to_pylist())

    def features(self, card: int, at: datetime, *, version: int | None = None) -> dict[str, Any]:
        return look_up(self.box, "activity", {"card_id": str(card)}, at=at, version=version).features


def sorted_rows(rows: Any) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["card_id"], row["time"], row["known"]))


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    opened = Case(tmp_path)
    yield opened
    opened.box.close()


class _Interrupted(SilentProgress):
    def __init__(self, after: int):
        self._left = after

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt


def test_what_was_interrupted_goes_on_and_ends_like_one_computation(case: Case) -> None:
    with pytest.raises(KeyboardInterrupt):
        materialize(case.box, chunk_events=60, progress=_Interrupted(after=2))
    halfway = case.history()
    assert 0 < len(halfway) < len(case.computed())

    outcome = materialize(case.box, chunk_events=60)

    assert case.history() == case.computed()
    assert outcome.views[0].observations == len(case.computed()) - len(halfway)
    assert [run.state for run in case.box.runs.list(limit=2)] == ["completed", "cancelled"]
    again = materialize(case.box)
    assert (again.views[0].observations, again.views[0].parts, case.history()) == (0, 0, case.computed())


_KILLED = """
import os, signal, sys
from pathlib import Path
from mlops_box.box import Box
from mlops_box.operations.features.materialize import materialize
from mlops_box.progress import SilentProgress

class Killed(SilentProgress):
    left = 2
    def advance(self, amount=1, *, note=""):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)

materialize(Box.open(Path(sys.argv[1])), chunk_events=60, progress=Killed())
"""


def test_what_was_killed_goes_on_and_ends_like_one_computation(case: Case) -> None:
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(case.box.home.root)], timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert 0 < len(case.history()) < len(case.computed())

    outcome = materialize(case.box, chunk_events=60)

    assert not outcome.views[0].anew
    assert case.history() == case.computed()


def test_a_push_reaches_back_into_the_events_of_the_file(case: Case) -> None:
    materialize(case.box)
    last = max(case.computed(), key=lambda row: row["time"])
    card, moment = last["card_id"], last["time"].replace(tzinfo=UTC) + timedelta(minutes=1)
    event = {
        "card_id": card,
        "happened_at": moment.isoformat(),
        "arrived_at": moment.isoformat(),
        "amount": 1.0,
    }
    before = case.features(card, moment)

    push(case.box, "activity", [event])
    after = case.features(card, moment)
    outcome = materialize(case.box)

    assert after["n_1h"] == before["n_1h"] + 1
    assert after["spend_1h"] == before["spend_1h"] + 1.0
    assert outcome.folded == 1
    assert case.features(card, moment) == after
    newest = [
        row for row in case.history() if (row["card_id"], row["time"]) == (card, moment.replace(tzinfo=None))
    ][-1]
    assert (newest["n_1h"], newest["spend_1h"]) == (after["n_1h"], after["spend_1h"])


def test_an_event_that_the_file_brings_as_well_counts_once(case: Case) -> None:
    materialize(case.box)
    event = {
        "card_id": 3, "happened_at": "2026-02-20T10:00:00", "arrived_at": "2026-02-20T10:00:00", "amount": 10.5,
    }  # fmt: skip
    push(case.box, "tx", [event])
    with (case.project.folder / "tx.csv").open("a") as file:
        file.write("3,2026-02-20T10:00:00,2026-02-20T10:00:00,10.5\n")

    materialize(case.box)
    push(
        case.box, "tx", [event | {"happened_at": "2026-02-20T10:01:00", "arrived_at": "2026-02-20T10:01:00"}]
    )

    assert case.features(3, datetime(2026, 2, 20, 10, 0, 30, tzinfo=UTC))["n_1h"] == 1
    assert case.features(3, datetime(2026, 2, 20, 10, 2, tzinfo=UTC))["n_1h"] == 2


def test_a_file_that_changed_behind_the_mark_is_computed_anew(case: Case) -> None:
    materialize(case.box)
    with (case.project.folder / "tx.csv").open("a") as file:
        file.write("3,2026-01-02T10:00:00,2026-01-02T10:00:00,10.5\n")
    case.register()

    outcome = materialize(case.box)

    assert outcome.views[0].anew
    assert case.history() == case.computed()


def test_a_new_version_of_a_view_is_filled_in_beside_the_old_one(case: Case) -> None:
    materialize(case.box)
    row = max(case.computed(), key=lambda found: (found["n_1h"], found["time"]))
    at = row["time"].replace(tzinfo=UTC) + timedelta(days=1)
    sql = ACTIVITY.replace("interval 1 hour", "interval 30 minutes")
    (case.project.folder / "features" / "activity.sql").write_text(sql)
    case.register()

    outcome = materialize(case.box)

    assert [view.view for view in outcome.views] == ["activity@2"]
    assert case.history() == case.computed()
    old, new = (case.features(row["card_id"], at, version=version) for version in (1, 2))
    assert None not in (old["n_1h"], new["n_1h"])
    assert len(case.history(case.box.features.get("activity", version=1))) > 0


def test_until_leaves_out_what_was_known_later_and_the_next_run_takes_it(case: Case) -> None:
    until = datetime(2026, 1, 5, tzinfo=UTC)
    materialize(case.box, until=until)
    first = case.history()
    assert len(first) > 0
    assert all(max(row["time"], row["known"]) <= until.replace(tzinfo=None) for row in first)

    materialize(case.box)
    assert case.history() == case.computed()


def test_a_backup_holds_what_was_pushed(case: Case, tmp_path: Path) -> None:
    materialize(case.box)
    now = datetime.now(UTC)
    push(case.box, "activity", [{"card_id": 3, "happened_at": now.isoformat(), "amount": 1.0}])
    expected = case.features(3, now)

    backup(case.box, tmp_path / "copy")

    with Box.open(tmp_path / "copy") as copy:
        assert look_up(copy, "activity", {"card_id": "3"}, at=now).features == expected
        [status] = features_status(copy)
        assert (status.waiting, status.rows) == (1, len(case.computed()))


def test_status_tells_how_fresh_each_view_is(case: Case) -> None:
    [never] = features_status(case.box)
    assert (never.view, never.materialized_until, never.entities) == ("activity@1", None, 0)
    materialize(case.box)
    now = datetime.now(UTC)
    push(case.box, "activity", [{"card_id": 3, "happened_at": now.isoformat(), "amount": 1.0}])

    [status] = features_status(case.box, view="activity")

    assert status.rows == len(case.computed())
    assert status.waiting == 1
    assert status.entities == 20
    assert status.newest == now
    with pytest.raises(NotFoundError):
        features_status(case.box, view="activty")
