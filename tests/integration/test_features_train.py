"""A project whose model learns from a feature view, from the files to the version's lineage."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from mlops_box.box import Box
from mlops_box.cli.main import main
from mlops_box.errors import ProjectError, SourceError
from mlops_box.operations.check import check
from mlops_box.operations.score import score
from mlops_box.operations.train import train
from mlops_box.project import load_project
from tests.feature_case import write_cards
from tests.integration.train_kit import commander, edit

N, SPEND = "activity__n_1h", "activity__spend_1h"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A box in which the cards were trained once; the project lies beside it."""
    root = tmp_path_factory.mktemp("cards")
    project = write_cards(root / "cards")
    with Box.open(root / "box") as box:
        train(box, project)
    return root


def test_a_version_learns_from_the_view_and_pins_its_definition(home: Path) -> None:
    with Box.open(home / "box", read_only=True) as box:
        version = box.models.get("cards")
        definition = box.features.get("activity")
        assert version.state == "accepted"
        assert [feature.name for feature in version.signature.features] == ["amount", N, SPEND]
        assert version.lineage["features"] == {"activity": definition.digest}
        assert box.features.pinned(version.lineage) == {"activity": definition}
        snapshot = box.snapshots.get(version.snapshot_id)
        assert snapshot.lineage["features"] == {"activity": definition.digest}
        assert [file["path"] for file in snapshot.lineage["feature_sources"]["tx"]["files"]] == [
            str(home / "cards/tx.csv")
        ]
        contract = box.projects.get("cards").declaration.data.contract
        assert (contract.columns[N].min, contract.columns[N].null, contract.columns[SPEND].null) == (
            0,
            False,
            True,
        )


def test_the_snapshot_holds_what_was_known_at_each_payment_and_no_more(home: Path) -> None:
    with Box.open(home / "box", read_only=True) as box:
        rows = box.snapshots.table(box.snapshots.get(box.models.get("cards").snapshot_id)).to_pylist()
    events = [line.split(",") for line in (home / "cards/tx.csv").read_text().splitlines()[1:]]
    for row in rows:
        known = [
            (datetime.fromisoformat(happened), float(amount))
            for card, happened, arrived, amount in events
            if int(card) == row["card_id"] and datetime.fromisoformat(arrived) <= row["paid_at"]
        ]  # fmt: skip
        known = [event for event in known if event[0] <= row["paid_at"]]
        newest = max((event[0] for event in known), default=None)
        fresh = newest is not None and (row["paid_at"] - newest).total_seconds() <= 2 * 86400
        counted = (
            [amount for at, amount in known if newest and (newest - at).total_seconds() <= 3600]
            if fresh
            else []
        )
        assert row[N] == len(counted)
        assert row[SPEND] == (pytest.approx(sum(counted)) if fresh else None)
    assert {row[SPEND] is None for row in rows} == {True, False}


def test_training_again_on_the_snapshot_keeps_its_definitions_though_the_view_changed(home: Path) -> None:
    with Box.open(home / "box") as box:
        first = box.models.get("cards@1")
        edit_sql(home / "cards", "sum(amount)", "sum(2 * amount)")
        try:
            project = load_project(home / "cards")
            again = train(box, project, snapshot_id=first.snapshot_id).version
            assert again.lineage["features"] == first.lineage["features"]
            anew = train(box, project).version
            assert anew.lineage["features"] != first.lineage["features"]
            assert [one.version for one in box.features.list(every=True)] == [1, 2]
            assert box.features.pinned(first.lineage)["activity"].version == 1
        finally:
            edit_sql(home / "cards", "sum(2 * amount)", "sum(amount)")


def test_the_same_data_and_the_same_views_give_the_same_snapshot(home: Path) -> None:
    with Box.open(home / "box") as box:
        before = [entry.act for entry in box.ledger.entries()]
        outcome = check(box, load_project(home / "cards"))
        assert not outcome.new
        assert outcome.snapshot.id == box.models.get("cards@1").snapshot_id
        acts = [entry.act for entry in box.ledger.entries()][: -len(before)]
        assert set(acts) <= {"check.begin", "check.completed", "project.register"}


def test_all_features_of_a_view_are_asked_for_at_once(tmp_path: Path) -> None:
    write_cards(tmp_path / "cards", payments=60)
    edit(tmp_path / "cards", '"activity.n_1h", "activity.spend_1h"', '"activity.*"')
    with Box.open(tmp_path / "box") as box:
        check(box, load_project(tmp_path / "cards"))
        assert box.projects.get("cards").declaration.model.features == ["amount", N, SPEND]


@pytest.mark.parametrize(
    ("old", "new", "error", "said"),
    [
        ('"activity.n_1h"', '"activity.n_2h"', ProjectError, "mlops.toml, line 37: view 'activity' has no feature 'n_2h'"),
        ('time = "paid_at"\n', "", ProjectError, "looked up at each row's time"),
        ("card_id = { type = \"bigint\" }\n", 'card_id = { type = "varchar" }\n', SourceError, "nothing could be joined"),
        ("[features.sources.tx]", '[features.sources.tx]\nquery = "select * from sorce"', SourceError, "mlops.toml, line"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_and_nothing_is_registered(
    tmp_path: Path, old: str, new: str, error: type[Exception], said: str
) -> None:
    write_cards(tmp_path / "cards", payments=40)
    text = (tmp_path / "cards/mlops.toml").read_text()
    (tmp_path / "cards/mlops.toml").write_text(text.replace(old, new).replace('by = "time"', 'by = "random"'))
    with Box.open(tmp_path / "box") as box:
        with pytest.raises(error, match=said):
            train(box, load_project(tmp_path / "cards"))
        assert box.features.list() == []
        assert list(box.home.scratch.iterdir()) == []


def test_a_bad_view_on_the_command_line_exits_2_with_file_and_line_and_changes_nothing(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = commander(home / "box", capfd)
    with Box.open(home / "box") as box:
        before = (
            box.db.read("SELECT count(*) AS n FROM ledger"),
            box.db.read("SELECT count(*) AS n FROM runs"),
        )
    edit_sql(home / "cards", "from tx", "from tx where happened_at < now()")
    try:
        for command in (("check",), ("train", "--direct")):
            told = run(*command, "--project", str(home / "cards"))
            assert told.code == 2
            assert "features/activity.sql, line 4: now has another value in each run" in told.err
    finally:
        edit_sql(home / "cards", "from tx where happened_at < now()", "from tx")
    with Box.open(home / "box") as box:
        assert before == (
            box.db.read("SELECT count(*) AS n FROM ledger"),
            box.db.read("SELECT count(*) AS n FROM runs"),
        )


def test_a_file_is_scored_with_the_features_of_the_definition_that_the_version_pins(home: Path) -> None:
    import pyarrow.parquet as pq

    with Box.open(home / "box") as box:
        first = box.models.get("cards@1")
        learnt = {
            row["payment_id"]: row
            for row in box.snapshots.table(box.snapshots.get(first.snapshot_id)).to_pylist()
        }
        score(box, "cards@1", source=home / "cards/payments.csv", target=home / "scored.parquet")
    scored = pq.read_table(home / "scored.parquet").to_pylist()
    assert len(scored) == len(learnt)
    assert all(row[N] == learnt[row["payment_id"]][N] for row in scored)
    assert all(row[SPEND] == learnt[row["payment_id"]][SPEND] for row in scored)


def test_the_command_line_lists_shows_and_traces_views(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = commander(home / "box", capfd)
    (row,) = run("features", "list", "--json").json
    assert (row["name"], row["entity"], row["features"], row["sources"]) == (
        "activity", ["card_id"], ["n_1h", "spend_1h"], ["tx"],
    )  # fmt: skip
    assert "fraud team" in run("features", "list").out
    shown = run("features", "show", "activity", "--version", "1")
    assert "what a card did in the last hour" in shown.out
    assert "count(*) over last_hour as n_1h" in shown.out
    traced = run("features", "lineage", "activity.n_1h", "--json").json
    assert "cards@1" in [used["ref"] for used in traced["used_by"]]
    assert [source["source"] for source in traced["sources"]] == ["tx.csv"]
    assert "cards@1" in run("features", "lineage", "activity").out
    for wrong, said in (
        (("show", "activty"), "did you mean 'activity'?"),
        (("lineage", "activity.n_2h"), "has no feature 'n_2h'"),
        (("why", "activity", "shop=7"), "is named by card_id"),
        (("why", "activity", "card_id=seven"), "is no activity entity"),
        (("why", "activity", "card_id"), "names no entity"),
    ):
        told = run("features", *wrong)
        assert (told.code, said in told.err) == (2, True), told.err


def test_why_tells_which_observation_counted_and_why_the_others_did_not(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = commander(home / "box", capfd)
    events = [line.split(",") for line in (home / "cards/tx.csv").read_text().splitlines()[1:]]
    card, happened, arrived, _ = next(event for event in events if event[1] != event[2])
    late = run(
        "features", "why", "activity", f"card_id={card}", "--at", happened, "--version", "1", "--json"
    ).json
    assert f"it was late: known only from {arrived[:19]}" in "".join(
        item["because"] for item in late["observations"]
    )
    never = run("features", "why", "activity", "card_id=999", "--version", "1", "--json").json
    assert [(item["value"], item["origin"]) for item in never["features"]] == [
        (0, "default"),
        (None, "missing"),
    ]
    old = run(
        "features", "why", "activity", f"card_id={card}", "--at", "2027-01-01", "--version", "1", "--json"
    ).json
    assert "its ttl is 2d" in old["features"][0]["because"]
    (counted,) = [item for item in old["observations"] if item["counts"]]
    now = run("features", "why", "activity", f"card_id={card}", "--at", counted["known"], "--version", "1")
    assert "observed at" in now.out
    assert "->" in now.out


def edit_sql(folder: Path, old: str, new: str) -> None:
    file = folder / "features/activity.sql"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_init_with_features_makes_a_project_with_one_view_that_trains(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cards(tmp_path / "cards", payments=200)
    monkeypatch.chdir(tmp_path)
    options = ("--from", "cards/payments.csv", "--target", "amount", "--features", "card_id")
    with pytest.raises(SystemExit) as left:
        main(["init", "spending", *options])
    assert left.value.code == 2
    assert "--time COLUMN" in capfd.readouterr().err
    assert not (tmp_path / "spending").exists()
    with pytest.raises(SystemExit) as left:
        main(["init", "spending", *options, "--time", "paid_at"])
    assert left.value.code in (0, None)
    project = load_project(tmp_path / "spending")
    assert list(project.declaration.features.views) == ["activity"]
    file = project.folder / "mlops.toml"
    # The amounts are random: no model beats guessing their median.
    file.write_text(file.read_text().replace("mae = { max = ", "mae = { max = 1"))
    with Box.open(tmp_path / "box") as box:
        version = train(box, load_project(project.folder)).version
        assert "activity__rows_7d" in [feature.name for feature in version.signature.features]
        assert list(version.lineage["features"]) == ["activity"]
