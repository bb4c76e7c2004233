"""A box with a bit of everything, the same to the byte each time: fixed ids, times and process."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mlops_box.box import Box
from mlops_box.canonical import canonical_json
from mlops_box.clock import FixedClock, isoformat
from mlops_box.models.values import Feature, GateResult, Signature, VersionDraft
from mlops_box.monitoring.values import DataFinding, FeatureFinding, Finding, QualityFinding
from mlops_box.monitoring.values import TestResult as OneTest
from mlops_box.runs import this_process

NOW = datetime(2026, 3, 14, 18, 5, 0, tzinfo=UTC)
SNAPSHOT = "5f" * 32
OLD_SNAPSHOT = "a7" * 32


def fixed_clock() -> FixedClock:
    return FixedClock(NOW)


def ago(**span: float) -> str:
    return isoformat(NOW - timedelta(**span))


def insert(box: Box, table: str, **values: Any) -> None:
    row = {
        name: canonical_json(value) if isinstance(value, dict | list) else value
        for name, value in values.items()
    }
    with box.db.write() as tx:
        tx.insert(table, row)


def add_run(box: Box, run_id: str, *, state: str = "completed", **values: Any) -> None:
    owner = this_process()
    held = {
        "id": run_id, "project": "bike-rentals", "kind": "train", "state": state, "trigger": "schedule",
        "started_at": ago(hours=2), "ended_at": None if state == "running" else ago(hours=1.9),
        "pid": owner.pid, "pid_started": owner.pid_started, "boot_id": owner.boot_id, "fence": 1, "params": {},
        **values,
    }  # fmt: skip
    insert(box, "runs", **held)


def add_steps(box: Box, run_id: str, *names: str, last: str = "completed") -> None:
    for seq, name in enumerate(names, start=1):
        state = last if seq == len(names) else "completed"
        insert(
            box, "run_steps", run_id=run_id, seq=seq, name=name, state=state, started_at=ago(minutes=9 - seq),
            ended_at=None if state == "running" else ago(minutes=8.6 - seq), detail="",
        )  # fmt: skip


def seed(home: Path) -> Path:
    """Make the box in ``home``; returns ``home``."""
    with Box.open(home, clock=fixed_clock(), actor="ana") as box:
        _data(box)
        _runs(box)
        _versions(box)
        _monitoring(box)
    return home


def empty(home: Path) -> Path:
    """A box without anything in it."""
    Box.open(home, clock=fixed_clock(), actor="ana").close()
    return home


def _data(box: Box) -> None:
    schema = [{"name": name, "type": kind} for name, kind in
              (("at", "timestamp"), ("season", "bigint"), ("hr", "bigint"), ("weathersit", "varchar"),
               ("temp", "double"), ("hum", "double"), ("cnt", "bigint"))]  # fmt: skip
    rules = [{"rule": "hum.max", "rows": 22, "examples": [{"at": "2011-03-10T01:00:00", "hum": 1.7}]}]
    checks = [
        {"rule": "rows", "ok": True, "message": "8645 rows, at least 1000", "value": 8645, "limit": 1000}
    ]
    for digest, rows, when in ((OLD_SNAPSHOT, 7900, ago(days=8)), (SNAPSHOT, 8623, ago(hours=5))):
        insert(
            box, "snapshots", id=digest, project="bike-rentals", rows=rows, rows_in=rows + 22, rows_quarantined=22,
            rows_rejected=0, schema=schema, time_column="at", time_min="2011-01-01T00:00:00.000Z",
            time_max="2011-12-31T23:00:00.000Z", created_at=when,
            verdict={"accepted": True, "rows_in": rows + 22, "rows_good": rows, "rows_quarantined": 22,
                     "rows_rejected": 0, "row_rules": rules, "batch_checks": checks},
            lineage={"source": [{"file": "hour.csv", "size_bytes": 1156736}], "query": "select * from source"},
        )  # fmt: skip
    insert(
        box, "refusals", id="01refusalwithasteadyid", project="bike-rentals", door="ingest", at=ago(hours=30),
        verdict={"accepted": False, "rows_in": 8645, "rows_good": 5000, "rows_quarantined": 3645, "rows_rejected": 0,
                 "row_rules": [{"rule": "temp.null", "rows": 3645, "examples": []}],
                 "batch_checks": [{"rule": "quarantine", "ok": False, "message": "42.2% bad rows, at most 1%",
                                   "value": 0.422, "limit": 0.01}]},
        lineage={"source": [{"file": "hour-broken.csv"}]},
    )  # fmt: skip


def _runs(box: Box) -> None:
    add_run(box, "01aaaaaaaaaarunning0000", state="running", kind="train", project="digits", trigger="alert",
            started_at=ago(minutes=9), params={"lr": 0.08, "epochs": 40})  # fmt: skip
    add_steps(box, "01aaaaaaaaaarunning0000", "load snapshot", "split", "fit", last="running")
    for epoch in range(1, 25):
        for name, start in (("train_loss", 1.9), ("validation_loss", 2.1)):
            value = start * math.exp(-epoch / 9) + (0.25 if name == "validation_loss" else 0.18)
            insert(box, "run_points", run_id="01aaaaaaaaaarunning0000", name=name, step=epoch, value=value,
                   at=ago(seconds=2 + 5 * (24 - epoch)))  # fmt: skip
    insert(box, "run_epochs", run_id="01aaaaaaaaaarunning0000", total=40, resumed_after=0, may_stop=1,
           started_at=ago(seconds=2 + 5 * 24), ended_at=None)  # fmt: skip
    add_run(box, "01aaaaaaaaaacompleted00", started_at=ago(hours=4), ended_at=ago(hours=3.96),
            result={"snapshot_id": SNAPSHOT, "version": "bike-rentals@3", "metrics": {"mae": 41.7, "r2": 0.89}})  # fmt: skip
    add_steps(
        box, "01aaaaaaaaaacompleted00", "take snapshot", "fit", "export", "evaluate", "gates", "register"
    )
    add_run(box, "01aaaaaaaaaarejected000", state="rejected", trigger="manual", started_at=ago(hours=7),
            ended_at=ago(hours=6.95), error="gate champion: mae 63.1 is worse than 41.7 of bike-rentals@2")  # fmt: skip
    add_run(box, "01aaaaaaaaaafailed00000", state="failed", kind="score", project="milling", trigger="manual",
            started_at=ago(hours=9), ended_at=ago(hours=8.99), error="the column 'torque' is missing in rows.csv")  # fmt: skip
    add_run(box, "01aaaaaaaaaarefused0000", state="refused", kind="check", started_at=ago(hours=30),
            ended_at=ago(hours=29.99), error="42.2% bad rows, at most 1%")  # fmt: skip
    for place in range(6):
        add_run(box, f"01aaaaaaaaaamonitor{place:04d}", kind="monitor", project="bike-rentals",
                started_at=ago(hours=10 + place * 2), ended_at=ago(hours=10 + place * 2 - 0.01))  # fmt: skip


def _reference(box: Box) -> str:
    numeric = {
        "kind": "numeric", "name": "temp", "edges": [0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
        "counts": [0, 400, 1900, 3200, 2400, 723, 0], "nulls": 0, "minimum": 0.02, "maximum": 1.0, "mean": 0.5,
        "std": 0.2, "discrete": False, "single": True,
    }  # fmt: skip
    text = {
        "kind": "categorical", "name": "weathersit", "values": ["clear", "mist", "rain", "snow"],
        "counts": [5600, 2300, 700, 23], "rest": 0, "singletons": 0, "nulls": 0, "complete": True,
    }  # fmt: skip
    hum = {**numeric, "name": "hum", "counts": [0, 100, 800, 2900, 3200, 1623, 0]}
    reference = {"format": 1, "rows": 8623, "columns": [numeric, hum, text]}
    return box.objects.put_bytes(canonical_json(reference).encode(), kind="reference")


def _versions(box: Box) -> None:
    signature = Signature(
        "regression", "cnt",
        (Feature("temp", "numeric", "double"), Feature("hum", "numeric", "double"),
         Feature("weathersit", "categorical", "varchar", ("clear", "mist", "rain", "snow"))),
    )  # fmt: skip
    reference = _reference(box)
    card = box.objects.put_bytes(b"<!doctype html><title>card</title>", kind="card")
    for number, mae, run in ((1, 52.3, None), (2, 44.9, None), (3, 41.7, "01aaaaaaaaaacompleted00"),
                             (4, 63.1, "01aaaaaaaaaarejected000")):  # fmt: skip
        accepted = number != 4
        model = box.objects.put_bytes(b"onnx" * (56_000 + number), kind="model")
        version = box.models.register(VersionDraft(
            model="bike-rentals", project="bike-rentals", task="regression", accepted=accepted, signature=signature,
            files={"model.onnx": model, "reference.json": reference, "card.html": card},
            metrics={"mae": mae, "rmse": mae * 1.44, "r2": 1 - mae / 380},
            gates=(GateResult("mae", True, f"mae {mae} is at most 70", mae, 70.0),
                   GateResult("champion", accepted if number > 1 else None,
                              "not worse than the champion" if accepted else "worse than the champion", mae, 41.7)),
            snapshot_id=SNAPSHOT if number > 2 else OLD_SNAPSHOT, run_id=run,
            lineage={"seed": 0, "git": {"commit": "3ac19f02", "dirty": False}, "packages": {"scikit-learn": "1.6.1"}},
        ))  # fmt: skip
        if accepted:
            box.models.set_champion(version, reason="passed its gates")
        with box.db.write() as tx:
            tx.execute("UPDATE versions SET created_at = ? WHERE model = 'bike-rentals' AND number = ?",
                       (ago(days=9 - 2 * number), number))  # fmt: skip
    digits = Signature("multiclass", "digit", (Feature("pixel", "numeric", "double"),), tuple(range(10)))
    version = box.models.register(VersionDraft(
        model="digits", project="digits", task="multiclass", accepted=True, signature=digits,
        files={"model.onnx": box.objects.put_bytes(b"digits" * 9000, kind="model")},
        metrics={"accuracy": 0.9713, "log_loss": 0.104}, gates=(GateResult("accuracy", True, "at least 0.9", 0.9713, 0.9),),
        snapshot_id="c3" * 32, run_id=None, lineage={"seed": 7},
    ))  # fmt: skip
    box.models.set_champion(version, reason="first version")
    with box.db.write() as tx:
        tx.execute("UPDATE aliases SET since = ?", (ago(hours=3.9),))


def _finding(strength: float) -> dict[str, Any]:
    drifted = strength > 0.1

    def feature(name: str, test: str, effect: float, psi: float) -> FeatureFinding:
        outcome = "drift" if effect > 0.1 else "fine"
        p = 1e-30 if effect > 0.1 else 0.31
        return FeatureFinding(
            name, "categorical" if test == "chi2" else "numeric", outcome,
            (OneTest(test, outcome, p, p, effect, 0.1, f"{test} {effect:.3f}"),
             OneTest("missing", "fine", 0.8, 0.9, 0.001, 0.1, "share of missing values changed by 0.1%")),
            1820, 0.0, 0.001, psi=psi, js=psi / 3, wasserstein=psi / 2, outside=0.004 if test == "ks" else None,
            new=0.03 if test == "chi2" else None, new_examples=("hail",) if test == "chi2" else (),
        )  # fmt: skip

    features = (
        feature("temp", "ks", strength, strength * 1.1),
        feature("hum", "ks", 0.04, 0.02),
        feature("weathersit", "chi2", 0.06, 0.05),
    )
    reason = "temp drifted: KS distance above its limit 0.1" if drifted else "no column drifted"
    drift = Finding("drift" if drifted else "fine", 1820, 8623, 200, 0.01, 0.1, False, reason, features)
    quality = QualityFinding(
        "loss" if drifted else "fine", "mae", 41.7 * (1 + strength), 41.7, strength, strength - 0.05, strength + 0.05,
        0.2, 1820, 1200, 200, f"mae is {strength:.0%} worse than on the held-out rows",
    )  # fmt: skip
    data = DataFinding("fine", 1820, 0, (), "every answer was finite")
    return {"drift": drift.to_dict(), "quality": quality.to_dict(), "data": data.to_dict()}


def _monitoring(box: Box) -> None:
    columns = [
        {"counts": [0, 20, 90, 300, 760, 650, 0], "nulls": 0, "rank_error": 0.0},
        {"counts": [0, 20, 170, 620, 660, 350, 0], "nulls": 0, "rank_error": 0.0},
        {"counts": [1100, 500, 160, 5], "unlisted": 55, "examples": ["hail"], "nulls": 0},
    ]
    counts = box.objects.put_bytes(json.dumps({"rows": 1820, "columns": columns}).encode(), kind="counts")
    strengths = [0.02, 0.03, 0.02, 0.05, 0.04, 0.07, 0.06, 0.09, 0.14, 0.22, 0.29, 0.34]
    for place, strength in enumerate(strengths):
        back = len(strengths) - place
        insert(
            box, "windows", model="bike-rentals", number=3, starts_at=ago(hours=back + 0.0833), ends_at=ago(hours=back - 0.9167),
            rows=1820, rows_with_truth=1200, profile_digest=None, summary={"counts_digest": counts},
            finding=_finding(strength), computed_at=ago(minutes=4 + 60 * (back - 1)),
        )  # fmt: skip
    small = Finding("cannot_tell", 41, 1400, 200, 0.01, 0.1, False, "41 rows, 200 are needed")
    data = DataFinding("cannot_tell", 41, 0, (), "41 rows, 200 are needed")
    insert(
        box, "windows", model="digits", number=1, starts_at=ago(hours=1.0833), ends_at=ago(minutes=5), rows=41,
        rows_with_truth=0, summary={}, computed_at=ago(minutes=4),
        finding={"drift": small.to_dict(), "quality": None, "data": data.to_dict()},
    )  # fmt: skip
    alert = {
        "project": "bike-rentals", "model": "bike-rentals", "number": 3, "severity": "warning", "state": "open",
        "note": "", "resolved_at": None,
    }  # fmt: skip
    insert(box, "alerts", id="01alertdrift0000000000", dedupe="bike-rentals:drift", kind="drift",
           title="temp drifted from the reference", finding=_finding(0.34), count=4,
           opened_at=ago(hours=4), updated_at=ago(minutes=4), **alert)  # fmt: skip
    insert(box, "alerts", id="01alertquality00000000", dedupe="bike-rentals:quality", kind="quality",
           title="mae is 34% worse than on the held-out rows", finding=_finding(0.34), count=2,
           opened_at=ago(hours=2), updated_at=ago(minutes=4), **{**alert, "severity": "error"})  # fmt: skip
    insert(box, "alerts", id="01alertresolved0000000", dedupe="bike-rentals:data", kind="data",
           title="hum is missing in 12% of rows", finding=_finding(0.02), count=1, opened_at=ago(days=3),
           updated_at=ago(days=2), **{**alert, "state": "resolved", "resolved_at": ago(days=2), "note": "sensor replaced"})  # fmt: skip
    decision = {"project": "bike-rentals", "model": "bike-rentals", "act": "train"}
    insert(box, "decisions", id="01decisionsuggested000", idempotency_key="b", alert_id="01alertquality00000000",
           trigger="quality", mode="suggest", state="suggested", reason="quality fell beyond its limit; retraining is suggested",
           facts={"loss": 0.34, "limit": 0.2, "cooldown_s": 43200}, run_id=None, decided_at=ago(minutes=4),
           updated_at=ago(minutes=4), **decision)  # fmt: skip
    insert(box, "decisions", id="01decisiondone00000000", idempotency_key="a", alert_id="01alertdrift0000000000",
           trigger="drift", mode="auto", state="done", reason="drift in temp; the cooldown of 12h was over",
           facts={"drifted": ["temp"], "cooldown_s": 43200}, run_id="01aaaaaaaaaacompleted00",
           decided_at=ago(hours=4), updated_at=ago(hours=3.9), **decision)  # fmt: skip
