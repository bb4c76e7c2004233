"""A box as it looks after months of use: 10,000 runs, 1,000 versions of 20 models, and what belongs to them."""

from __future__ import annotations

import json
import math
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.tui.watched import FEATURES, reference_of, window_finding, window_summary
from mlops_box.box import Box
from mlops_box.canonical import canonical_json, sha256_hex
from mlops_box.clock import isoformat
from mlops_box.db import Transaction
from mlops_box.models.values import Feature, GateResult, Signature, VersionDraft

RUNS, MODELS, VERSIONS = 10_000, 20, 50
DAYS = 90
WATCHED_MODELS, WINDOWS = 12, 168
PLACES = ("bike", "churn", "demand", "energy", "fraud", "grid", "heat", "intake", "leads", "milling")
NAMES = [
    f"{PLACES[place % len(PLACES)]}-{'north' if place < len(PLACES) else 'south'}" for place in range(MODELS)
]
_KINDS = ("monitor", "monitor", "score", "check", "train", "materialize", "monitor", "score")
_ENDS = ("completed",) * 16 + ("failed", "refused", "rejected", "cancelled")
_STEPS = {
    "train": ("take snapshot", "split", "fit", "export", "evaluate", "gates", "register"),
    "monitor": ("seal", "windows", "judge"), "score": ("read", "predict", "write"), "check": ("read", "contract"),
    "materialize": ("read", "compute", "publish"),
}  # fmt: skip


def fill(home: Path) -> None:
    """Make the box in ``home``; the same each time but for the hour."""
    chance, now = random.Random(0), datetime.now(UTC)
    with Box.open(home, actor="ana") as box, box.db.write() as tx:
        snapshots = _snapshots(tx, now, chance)
        trained = _runs(tx, now, chance)
        _versions(box, tx, now, chance, snapshots, trained)
        _windows(box, tx, now, chance)
        _alerts(tx, now, chance)
        _features(tx, now)
        _devices(tx, now)
        for number in range(6000):
            box.ledger.append(tx, "run.end", f"run:{trained[number % len(trained)]}", {"state": "completed"})


def run_id(number: int) -> str:
    """The id of a run; 0 is the newest."""
    return f"01k{RUNS - number:06d}{number * 7919 % 10**6:06d}bench00"


def _insert(tx: Transaction, table: str, rows: list[dict[str, Any]]) -> None:
    names = list(rows[0])
    marks = ", ".join("?" * len(names))
    values = [
        [canonical_json(value) if isinstance(value, dict | list) else value for value in row.values()]
        for row in rows
    ]
    tx.execute_many(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", values)


def _snapshots(tx: Transaction, now: datetime, chance: random.Random) -> list[str]:
    schema = [{"name": name, "type": "double"} for name in FEATURES] + [{"name": "at", "type": "timestamp"}]
    rows, refused = [], []
    for number in range(400):
        at = now - timedelta(days=DAYS * (1 - number / 400))
        bad = chance.choice((0, 0, 0, 22, 140))
        verdict = {
            "accepted": True, "rows_in": 9000 + bad, "rows_good": 9000, "rows_quarantined": bad, "rows_rejected": 0,
            "row_rules": [{"rule": "hum.max", "rows": bad, "examples": [{"hum": 1.7}] * 3}] if bad else [],
            "batch_checks": [{"rule": "rows", "ok": True, "message": "9000 rows, at least 1000", "value": 9000, "limit": 1000}],
        }  # fmt: skip
        rows.append({
            "id": sha256_hex(b"snapshot %d" % number), "project": NAMES[number % MODELS], "rows": 9000,
            "rows_in": 9000 + bad, "rows_quarantined": bad, "rows_rejected": 0, "schema": schema, "time_column": "at",
            "time_min": isoformat(at - timedelta(days=30)), "time_max": isoformat(at), "verdict": verdict,
            "lineage": {"source": [{"file": "rows.csv", "size_bytes": 1_156_736}], "query": "select * from source"},
            "created_at": isoformat(at),
        })  # fmt: skip
        if number % 10 == 0:
            verdict = {**verdict, "accepted": False, "rows_good": 5000, "rows_quarantined": 4000 + bad}
            refused.append({
                "id": f"01kref{number:06d}", "project": NAMES[number % MODELS], "door": "ingest",
                "at": isoformat(at), "verdict": verdict, "lineage": {"source": [{"file": "broken.csv"}]},
            })  # fmt: skip
    _insert(tx, "snapshots", rows)
    _insert(tx, "refusals", refused)
    return [row["id"] for row in rows]


def _runs(tx: Transaction, now: datetime, chance: random.Random) -> list[str]:
    """All of them ended, the newest just now; returns the ids of trainings, the oldest first."""
    runs, steps, points, trained = [], [], [], []
    for number in reversed(range(RUNS)):
        kind, state = chance.choice(_KINDS), chance.choice(_ENDS)
        begun = now - timedelta(days=DAYS * number / RUNS, seconds=95)
        took_s = chance.uniform(2, 90)
        error = None if state == "completed" else "gate champion: mae 63.1 is worse than 41.7 of the champion"
        runs.append({
            "id": run_id(number), "project": chance.choice(NAMES), "kind": kind, "state": state,
            "trigger": chance.choice(("schedule", "schedule", "manual", "alert")), "started_at": isoformat(begun),
            "ended_at": isoformat(begun + timedelta(seconds=took_s)), "pid": 4000 + number % 999, "pid_started": 1.5,
            "boot_id": "another", "fence": 1, "params": {"lr": 0.08, "epochs": 40}, "error": error,
        })  # fmt: skip
        names = _STEPS[kind]
        for seq, name in enumerate(names, start=1):
            last = "failed" if seq == len(names) and error else "completed"
            at = begun + timedelta(seconds=took_s * (seq - 1) / len(names))
            steps.append({"run_id": run_id(number), "seq": seq, "name": name, "state": last, "detail": "",
                          "started_at": isoformat(at), "ended_at": isoformat(at + timedelta(seconds=1))})  # fmt: skip
        if kind != "train":
            continue
        trained.append(run_id(number))
        points += [
            {"run_id": run_id(number), "name": name, "step": step, "value": start * math.exp(-step / 9) + 0.2}
            for name, start in (("train_loss", 1.9), ("validation_loss", 2.1))
            for step in range(1, 41)
        ]
    _insert(tx, "runs", runs)
    _insert(tx, "run_steps", steps)
    _insert(tx, "run_points", points)
    return trained


def _versions(
    box: Box, tx: Transaction, now: datetime, chance: random.Random, snapshots: list[str], trained: list[str]
) -> None:
    features = tuple(Feature(name, "numeric", "double") for name in FEATURES)
    signature = Signature("regression", "cnt", features)
    for place, model in enumerate(NAMES):
        files = {
            "model.onnx": box.objects.put_bytes(b"onnx" * (56_000 + place), kind="model"),
            "reference.json": box.objects.put_bytes(canonical_json(reference_of(place)).encode(), kind="reference"),
            "card.html": box.objects.put_bytes(b"<!doctype html><title>card</title>", kind="card"),
        }  # fmt: skip
        for number in range(1, VERSIONS + 1):
            mae = 60 * math.exp(-number / 40) + chance.uniform(0, 4)
            accepted = number == VERSIONS or chance.random() > 0.15
            version = box.models.register(VersionDraft(
                model=model, project=model, task="regression", accepted=accepted, signature=signature, files=files,
                metrics={"mae": mae, "rmse": mae * 1.44, "r2": 1 - mae / 380},
                gates=(GateResult("mae", True, f"mae {mae:.1f} is at most 70", mae, 70.0),
                       GateResult("champion", accepted, "compared with the champion on the same rows", mae, 41.7)),
                snapshot_id=snapshots[(place + number * MODELS) % len(snapshots)],
                run_id=trained[place + (number - 1) * MODELS],
                lineage={"seed": 0, "git": {"commit": "3ac19f02", "dirty": False},
                         "features": {"riders": sha256_hex(b"riders 1")} if place % 4 == 0 else {}},
            ))  # fmt: skip
            made = isoformat(now - timedelta(days=DAYS * (1 - number / VERSIONS), minutes=place + 1))
            tx.execute(
                "UPDATE versions SET created_at = ? WHERE model = ? AND number = ?", (made, model, number)
            )
            if accepted and number >= VERSIONS - 5:
                box.models.set_champion(version, reason="passed its gates")


def _windows(box: Box, tx: Transaction, now: datetime, chance: random.Random) -> None:
    hour = now.replace(minute=0, second=0, microsecond=0)
    rows = []
    for place, model in enumerate(NAMES[:WATCHED_MODELS]):
        counts = box.objects.put_bytes(json.dumps(window_summary(place)).encode(), kind="counts")
        for back in range(WINDOWS):
            strength = 0.03 + chance.uniform(0, 0.05) + (0.2 if back < place % 4 else 0)
            rows.append({
                "model": model, "number": VERSIONS, "starts_at": isoformat(hour - timedelta(hours=back + 1)),
                "ends_at": isoformat(hour - timedelta(hours=back)), "rows": 1820, "rows_with_truth": 1200,
                "summary": {"counts_digest": counts}, "finding": window_finding(strength),
                "computed_at": isoformat(hour - timedelta(hours=back)),
            })  # fmt: skip
    _insert(tx, "windows", rows)


def _alerts(tx: Transaction, now: datetime, chance: random.Random) -> None:
    alerts, decisions = [], []
    for number in range(600):
        opened = now - timedelta(days=DAYS * number / 600, minutes=7)
        model = NAMES[number % WATCHED_MODELS]
        state = "open" if number < 6 else "acknowledged" if number < 12 else "resolved"
        alerts.append({
            "id": f"01kalert{number:06d}bench", "dedupe": f"{model}:drift", "project": model, "model": model,
            "number": VERSIONS, "kind": chance.choice(("drift", "quality", "data")), "state": state,
            "severity": chance.choice(("warning", "warning", "error")), "count": chance.randint(1, 9),
            "title": "temp drifted from the reference", "finding": window_finding(0.3), "note": "",
            "opened_at": isoformat(opened), "updated_at": isoformat(opened + timedelta(minutes=5)),
            "resolved_at": isoformat(opened + timedelta(hours=1)) if state == "resolved" else None,
        })  # fmt: skip
        decisions.append({
            "id": f"01kdecision{number:06d}", "idempotency_key": f"key {number}", "project": model, "model": model,
            "alert_id": f"01kalert{number:06d}bench", "trigger": "drift", "mode": "auto", "act": "train",
            "state": "suggested" if number < 3 else "done", "reason": "drift in temp; the cooldown of 12h was over",
            "facts": {"drifted": ["temp"], "cooldown_s": 43_200}, "run_id": run_id(number * 3),
            "decided_at": isoformat(opened), "updated_at": isoformat(opened),
        })  # fmt: skip
    _insert(tx, "alerts", alerts)
    _insert(tx, "decisions", decisions)


def _features(tx: Transaction, now: datetime) -> None:
    rule: dict[str, Any] = {"type": "double"}
    rows = []
    for name in ("riders", "stations", "weather"):
        digest = sha256_hex(f"{name} 1".encode())
        rows.append({
            "digest": digest, "name": name, "version": 1, "project": NAMES[0], "created_at": isoformat(now),
            "created_by": "ana", "definition": {
                "project": NAMES[0], "name": name, "version": 1, "digest": digest, "time": "at", "ttl_us": None,
                "entity": [{"name": "station", "type": "varchar"}], "lookback_us": None,
                "columns": [{"name": "trips", "type": "double", "ttl_us": None, "default": None, "rule": rule}],
                "sql": "select * from trips", "sources": [], "upstream": [], "owner": "ana", "description": "",
                "file": None,
            },
        })  # fmt: skip
    _insert(tx, "feature_definitions", rows)


def _devices(tx: Transaction, now: datetime) -> None:
    rows = [
        {
            "name": f"pi-{number:02d}", "key_id": f"{number:016x}", "public_key": f"{number:064x}", "added_by": "ana",
            "added_at": isoformat(now - timedelta(days=30)), "last_seen": isoformat(now - timedelta(minutes=4)),
            "way": "push", "starts": 3, "mono_us": 10**9, "clock_offset_us": 1200, "backlog": 40 * number,
            "health": {"serving": f"{NAMES[0]}@{VERSIONS}"},
        }
        for number in range(12)
    ]  # fmt: skip
    _insert(tx, "devices", rows)
