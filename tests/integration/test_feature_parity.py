"""Parity finds what was planted in the online store, and names it; what was served right passes."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from mlops_box.box import Box
from mlops_box.cli.main import main
from mlops_box.clock import FixedClock, to_us
from mlops_box.errors import GateError
from mlops_box.features.compute import observations
from mlops_box.features.definition import Definition, digest_of_view
from mlops_box.features.join import point_in_time_join
from mlops_box.features.lookup import FeatureLookup
from mlops_box.features.online import Observation
from mlops_box.features.parity import Recomputed
from mlops_box.features.push import read_observations
from mlops_box.features.view import FeatureView
from mlops_box.ids import parse_ref
from mlops_box.operations.features.events import events_of
from mlops_box.operations.features.materialize import materialize
from mlops_box.operations.features.parity import ParityOutcome, check_parity
from mlops_box.operations.features.push import push
from mlops_box.operations.monitor import monitor
from mlops_box.operations.promote import promote
from mlops_box.operations.train import train
from mlops_box.operations.why import explain
from mlops_box.project import LoadedProject, load_project, parse_project
from mlops_box.serving.metrics import Metrics
from mlops_box.serving.prediction_log import PredictionLog
from mlops_box.serving.predictor import Predictor
from mlops_box.serving.problems import ContractViolation
from mlops_box.serving.router import Router
from tests.feature_case import ACTIVITY, write_cards

MODEL = "cards"
NOW = datetime(2026, 1, 12, 14, tzinfo=UTC)
# Card 3 pays on the edge of its window, card 7 before it, card 5 in a way that is known late; amounts that float32 cannot hold.
PAID = [
    (3, "10T09:50", "10T09:50", 40.4), (3, "12T10:00", "12T10:00", 10.1), (3, "12T10:20", "12T10:20", 20.2),
    (3, "12T11:00", "12T11:00", 30.3), (5, "12T12:00", "12T12:00", 1.1), (5, "12T12:30", "12T15:30", 2.2),
    (7, "12T10:00", "12T10:00", 1.1), (7, "12T11:02", "12T11:02", 2.2),
]  # fmt: skip
Plant = Callable[[str, Observation], Observation | None]


class Case:
    def __init__(self, home: Path, project: LoadedProject, now: datetime = NOW):
        self.clock = FixedClock(now)
        self.project = project
        self.box = Box.open(home, actor="test", clock=self.clock)

    @property
    def definition(self) -> Definition:
        return self.box.features.pinned(self.box.models.get(MODEL).lineage)["activity"]

    def computed(self, definition: Definition | None = None) -> pa.Table:
        definition = definition or self.definition
        scratch = self.box.home.scratch / f"test-{definition.digest[:8]}"
        scratch.mkdir(exist_ok=True)
        cards = pa.table({"card_id": pa.array(range(20), pa.int64())})
        events = events_of(self.box, self.definition, cards, scratch=scratch)
        return observations(definition, events, scratch=scratch)

    def serve(self, plant: Plant = lambda _, found: found, *, by: Definition | None = None) -> None:
        """Put all observations, or what a fault makes of them, into the online store."""
        store = self.box.online
        number = store.view_number(self.definition.digest, "activity")
        pairs = read_observations(self.definition, self.computed(by))
        kept = [(key, found) for key, one in pairs if (found := plant(key, one)) is not None]
        with store.write() as tx:
            tx.execute("DELETE FROM observations")
            store.put(tx, number, kept)

    def ask(self, *asked: tuple[int, datetime]) -> list[str]:
        """Predict for cards at moments, with looked-up features; returns the ids."""
        box = self.box
        body = {
            "entities": [{"card_id": card} for card, _ in asked],
            "rows": [{"amount": 5.0, "paid_at": at.isoformat()} for _, at in asked],
        }
        log = PredictionLog(box.home.predictions, box.db, self.clock)
        try:
            router = Router(
                box.db, box.models, box.projects,
                lookup_for=lambda version: FeatureLookup(box.online, box.features.pinned(version.lineage), self.clock),
            )  # fmt: skip
            slot = router.load(parse_ref(MODEL))
            assert slot.entities is not None
            rows = slot.entities.parse(json.dumps(body).encode())
            return list(Predictor(log, self.clock, Metrics()).predict_now(slot, rows, "champion").ids)
        finally:
            log.close()

    def parity(self) -> ParityOutcome:
        return check_parity(self.box, MODEL, sample=1.0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LoadedProject]:
    folder = tmp_path_factory.mktemp("parity")
    project = write_cards(folder / "project", payments=120)
    with (folder / "project/tx.csv").open("a") as file:
        for card, happened, arrived, amount in PAID:
            file.write(f"{card},2026-01-{happened}:00,2026-01-{arrived}:00,{amount}\n")
    with (folder / "project/mlops.toml").open("a") as file:
        file.write('\n[features.parity]\nsample = 1.0\nwindow = "12h"\nblock = true\n')
    project = load_project(project.folder)
    with Box.open(folder / "home", actor="test", clock=FixedClock(NOW - timedelta(hours=1))) as box:
        assert train(box, project).promoted
    return folder / "home", project


@pytest.fixture
def case(trained: tuple[Path, LoadedProject], tmp_path: Path) -> Iterator[Case]:
    shutil.copytree(trained[0], tmp_path / "home")
    opened = Case(tmp_path / "home", trained[1])
    yield opened
    opened.box.close()


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-01-{text}:00+00:00")


EDGE = (3, at("12T11:01"))


def test_what_was_served_right_is_as_recomputed(case: Case) -> None:
    materialize(case.box, until=NOW)
    paid = {
        "card_id": 3,
        "happened_at": "2026-01-12T13:30:00",
        "arrived_at": "2026-01-12T13:59:00",
        "amount": 7.7,
    }
    push(case.box, "activity", [paid])
    case.ask(*((card, NOW) for card in range(20)), (99, NOW))

    found = case.parity()

    assert (found.outcome, found.predictions, found.rows, found.mismatches) == ("fine", 21, 21, ())
    assert [(column.column, column.rows) for column in found.columns] == [
        ("activity__n_1h", 21), ("activity__spend_1h", 21),
    ]  # fmt: skip


def redact(case: Case, *columns: str) -> None:
    """What a person does who wants them out of the log from now on."""
    text = (case.project.folder / "mlops.toml").read_text() + f"\n[serve]\nredact = {json.dumps(columns)}\n"
    case.box.projects.register(LoadedProject(case.project.folder, parse_project(text)))


def test_a_redacted_entity_is_looked_up_and_not_logged_and_is_no_mismatch(case: Case) -> None:
    materialize(case.box, until=NOW)
    (before,) = case.ask(EDGE)
    redact(case, "card_id")
    (after,) = case.ask(EDGE)

    found = case.parity()

    seen, hidden = case.box.predictions.find(before), case.box.predictions.find(after)
    assert seen is not None
    assert hidden is not None
    assert (json.loads(seen["entity"]), json.loads(hidden["entity"])) == ({"card_id": 3}, {"card_id": None})
    assert seen["feature:activity__spend_1h"] == hidden["feature:activity__spend_1h"] == pytest.approx(60.6)
    assert (found.outcome, found.predictions, found.redacted, found.rows) == ("fine", 2, 1, 1)


def test_where_all_entities_are_redacted_parity_cannot_tell_and_blocks_nothing(case: Case) -> None:
    materialize(case.box, until=NOW)
    redact(case, "card_id")
    case.ask(EDGE, EDGE)

    found = case.parity()

    assert (found.outcome, found.redacted, found.rows, found.mismatches) == ("cannot_tell", 2, 0, ())
    assert monitor(case.box)
    assert case.box.alerts.unresolved(MODEL, "parity") is None


def test_a_redacted_feature_is_left_out_of_the_comparison_and_named(case: Case) -> None:
    materialize(case.box, until=NOW)
    redact(case, "activity__spend_1h")
    case.ask(EDGE)

    found = case.parity()

    assert (found.outcome, found.hidden, found.mismatches) == ("fine", ("activity__spend_1h",), ())
    assert [column.column for column in found.columns] == ["activity__n_1h"]


def test_a_time_zone_shift_is_found_and_named(case: Case) -> None:
    hours = timedelta(hours=2) // timedelta(microseconds=1)
    case.serve(lambda _, one: one._replace(time_us=one.time_us + hours, since_us=one.since_us + hours))
    case.ask(EDGE)

    found = case.parity()

    assert {one.cause for one in found.mismatches} == {"time zone"}
    assert "was stored as of 2026-01-10T11:50:00.000Z, 2h00m later" in found.mismatches[0].because


def test_a_stale_materialisation_is_found_and_named(case: Case) -> None:
    case.serve(lambda _, one: one if one.time_us < to_us(at("12T11:00")) else None)
    ids = case.ask(EDGE)

    found = case.parity()

    assert [(one.id, one.column, one.logged, one.recomputed, one.cause) for one in found.mismatches] == [
        (ids[0], "activity__n_1h", 2.0, 3.0, "stale materialisation"),
        (ids[0], "activity__spend_1h", pytest.approx(30.3), pytest.approx(60.6), "stale materialisation"),
    ]
    assert "the observation of 2026-01-12T10:20:00.000Z was served" in found.mismatches[0].because


def test_a_window_that_is_off_by_one_is_found_and_named(case: Case) -> None:
    sql = ACTIVITY.replace("interval 1 hour preceding", "interval 59 minutes preceding")
    wrong = Definition(**(vars(case.definition) | {"sql": sql}))
    case.serve(by=wrong)
    case.ask(EDGE, (3, at("12T10:30")))

    found = case.parity()

    assert [(one.logged, one.recomputed, one.cause) for one in found.mismatches] == [
        (2.0, 3.0, "window off by one"),
        (pytest.approx(50.5), pytest.approx(60.6), "window off by one"),
    ]
    assert (
        "without the event of 2026-01-12T10:00:00.000Z, the first one in the window"
        in found.mismatches[0].because
    )


def test_a_window_that_lets_one_more_in_is_found_and_named(case: Case) -> None:
    sql = ACTIVITY.replace("interval 1 hour preceding", "interval 63 minutes preceding")
    case.serve(by=Definition(**(vars(case.definition) | {"sql": sql})))
    case.ask((7, at("12T11:05")))

    found = case.parity()

    assert next((one.logged, one.recomputed, one.cause) for one in found.mismatches) == (
        2.0,
        1.0,
        "window off by one",
    )
    assert (
        "with the event of 2026-01-12T10:00:00.000Z, the last one before the window"
        in found.mismatches[0].because
    )


def test_a_float32_truncation_is_found_and_named(case: Case) -> None:
    def truncated(_: str, one: Observation) -> Observation:
        return one._replace(
            features=[struct.unpack("f", struct.pack("f", value))[0] for value in one.features]
        )

    case.serve(truncated)
    case.ask(EDGE)

    found = case.parity()

    assert [(one.column, one.cause) for one in found.mismatches] == [("activity__spend_1h", "type")]
    assert found.columns[1].max_difference == pytest.approx(1e-6, abs=2e-6)


def test_what_was_known_later_is_late_data(case: Case) -> None:
    case.serve()
    case.ask((5, at("12T13:00")))

    found = case.parity()

    assert next((one.logged, one.recomputed, one.cause) for one in found.mismatches) == (
        2.0,
        1.0,
        "late data",
    )


def test_a_default_in_place_of_an_observation_is_named(case: Case) -> None:
    case.serve(lambda key, one: None if key == "[3]" else one)
    case.ask(EDGE)

    causes = {one.column: one.cause for one in case.parity().mismatches}

    assert causes == {"activity__n_1h": "default used", "activity__spend_1h": "stale materialisation"}


def test_another_definition_that_gives_the_value_is_named(case: Case) -> None:
    sql = ACTIVITY.replace("interval 1 hour preceding", "interval 30 minutes preceding")
    other = Definition(**(vars(case.definition) | {"sql": sql, "version": 0}))
    other = case.box.features.register(Definition(**(vars(other) | {"digest": digest_of_view(other)})))
    case.serve(by=other)
    case.ask(EDGE)

    found = case.parity()

    assert {one.cause for one in found.mismatches} == {"different definition"}
    assert "activity@2 gives it; the version pins activity@1" in found.mismatches[0].because


def test_a_breach_alerts_once_blocks_promotion_says_why_and_ends_when_parity_holds(case: Case) -> None:
    case.serve(lambda _, one: one if one.time_us < to_us(at("12T11:00")) else None)
    case.ask(EDGE)

    opened = [(item.change, item.alert.kind) for item in monitor(case.box).alerts]
    again = monitor(case.box).alerts
    standing = case.box.alerts.unresolved(MODEL, "parity")

    assert ("opened", "parity") in opened
    assert all(item.alert.kind != "parity" for item in again)
    assert standing is not None
    told = "\n".join(explain(case.box, standing.id).lines)
    assert "activity__n_1h: 1 of 1 differ, by stale materialisation (1)" in told
    with pytest.raises(GateError, match="parity of its features is broken"):
        promote(case.box, f"{MODEL}@1", reason="test")

    case.clock.advance(timedelta(days=1))
    assert monitor(case.box).alerts == ()
    case.serve()
    case.ask((3, case.clock.now()))
    assert [(item.change, item.alert.kind) for item in monitor(case.box).alerts] == [("resolved", "parity")]
    assert promote(case.box, f"{MODEL}@1", reason="test").version.number == 1


def test_the_command_prints_every_mismatch_and_ends_like_a_gate(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    case.serve(lambda _, one: one if one.time_us < to_us(at("12T11:00")) else None)
    [id_] = case.ask(EDGE)
    command = ["features", "parity", MODEL, "--home", str(case.box.home.root)]

    with pytest.raises(SystemExit) as ended:
        main([*command, "--since", "2026-01-12", "--sample", "100%", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert ended.value.code == 4
    assert (told["outcome"], told["mismatches"][0]["id"]) == ("broken", id_)
    with pytest.raises(SystemExit) as ended:
        main([*command, "--since", "2026-01-13"])
    assert (ended.value.code, "cannot tell" in capsys.readouterr().out) == (0, True)


def test_a_feature_out_of_its_rule_is_refused_with_the_rule(case: Case) -> None:
    case.serve(lambda _, one: one._replace(features=[-1, one.features[1]]))

    with pytest.raises(ContractViolation) as refused:
        case.ask(EDGE)
    assert [problem["rule"] for problem in refused.value.details["problems"]] == ["activity__n_1h.min"]


def test_what_counts_is_what_the_join_says(case: Case) -> None:
    table = case.computed()
    recomputed = Recomputed(case.definition, table, {})
    moments = [at("02T00:00") + timedelta(hours=5 * place) for place in range(50)]
    rows = pa.table(
        {"card_id": pa.array([place % 20 for place in range(50)], pa.int64()), "t": pa.array(moments, pa.timestamp("us", "UTC"))}
    )  # fmt: skip
    joined = point_in_time_join(rows, [FeatureView.of(case.definition, table)], time="t").to_pylist()

    for row in joined:
        moment_us = to_us(row["t"])
        counted = recomputed.counted(f"[{row['card_id']}]", moment_us, moment_us)
        assert recomputed.vector(counted, moment_us) == {
            "n_1h": row["activity__n_1h"], "spend_1h": row["activity__spend_1h"],
        }  # fmt: skip


def test_drift_is_judged_on_a_looked_up_feature(case: Case) -> None:
    case.serve(lambda _, one: one._replace(features=[one.features[0] + 40, one.features[1]]))
    for _ in range(15):
        case.ask(*((card, NOW - timedelta(minutes=card + 1)) for card in range(20)))

    drifted = [name for window in monitor(case.box).windows for name in window.drift.drifted]

    assert "activity__n_1h" in drifted
