"""A box with a model, and a device whose records are made by hand as its server writes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mlops_box.box import Box
from mlops_box.clock import Clock, FixedClock, isoformat
from mlops_box.edge.device import ed25519
from mlops_box.edge.device.batch import Record, write_batch
from mlops_box.models.golden import Golden
from mlops_box.models.values import GOLDEN_FILE, PACKED_FILE, REFERENCE_FILE, VersionDraft
from mlops_box.monitoring.count_tables import count_window
from mlops_box.monitoring.reference import PREDICTION
from mlops_box.monitoring.reference_tables import reference_of
from mlops_box.project import LoadedProject, parse_project
from mlops_box.serving.records import PredictionRecord, Truth, TruthRecord
from mlops_box.serving.segment_lines import record_line, truth_line
from tests.integration.serving_kit import FAILS, FAILS_PROJECT, fails_model

START = datetime(2026, 3, 1, 6, tzinfo=UTC)
NOW = START + timedelta(days=2)
MODEL = "mill"
MACHINE = "0" * 31 + "1"
BOOT = f"{MACHINE}-1"
SEED = bytes(range(32))
PROJECT = FAILS_PROJECT + '[monitor]\nwindow = "1h"\nmin_rows = 10\n'


def open_box(folder: Path, clock: Clock | None = None, known: Any = None) -> Box:
    """A box with the model ``mill`` as champion, its reference, and the device ``press-7``."""
    box = Box.open(folder, clock=clock or FixedClock(NOW), actor="tester")
    box.projects.register(LoadedProject(box.home.root, parse_project(PROJECT)))
    files = {
        PACKED_FILE: box.objects.put_bytes(fails_model(), kind="model"),
        GOLDEN_FILE: box.objects.put_bytes(
            Golden(({"heat": 10.0, "kind": "l"},), probability=((0.5, 0.5),)).to_json().encode(),
            kind="golden",
        ),
        REFERENCE_FILE: box.objects.put_bytes((known or reference()).to_bytes(), kind="reference"),
    }
    draft = VersionDraft(MODEL, MODEL, FAILS.task, True, FAILS, files, {}, (), "snapshot", None)
    box.models.set_champion(box.models.register(draft), reason="test")
    box.devices.add("press-7", ed25519.public_key(SEED))
    return box


def reference() -> Any:
    rng = np.random.default_rng(0)
    heat = rng.normal(10, 2, 500)
    table = {"heat": heat, "kind": rng.choice(["l", "m"], 500), PREDICTION: 1 / (1 + np.exp(10 - heat))}
    return reference_of(pa.table(table))


@dataclass(frozen=True)
class Asked:
    """One answered row."""

    at: datetime
    heat: float | None
    kind: str | None
    p: float
    time: datetime | None = None


@dataclass
class Device:
    """Writes records as a device's server does; ``clock_off`` is how far its wall clock is ahead."""

    boot: str = BOOT
    clock_off: timedelta = timedelta(0)
    began: datetime = START - timedelta(hours=1)
    seed: bytes = SEED
    name: str = "press-7"
    records: list[Record] = field(default_factory=list)

    @property
    def segment(self) -> str:
        return f"{self.boot[-1:]}device".ljust(22, "0").replace("i", "1")

    def id(self, index: int) -> str:
        return f"{self.segment}-{index:08x}"

    def ask(self, rows: Iterable[Asked]) -> None:
        for row in rows:
            body = {
                "id": self.id(len(self.records)), "model": MODEL, "number": 1,
                "row": {"heat": row.heat, "kind": row.kind}, "latency_ms": 1.0,
                "time": isoformat(row.time) if row.time else None,
                "label": "true" if row.p > 0.5 else "false", "probability": [1 - row.p, row.p],
            }  # fmt: skip
            self._add(row.at, "prediction", body)

    def tell(self, at: datetime, id_: str, value: str) -> None:
        self._add(at, "truth", {"id": id_, "value": value, "model": MODEL})

    def count(self, at: datetime, rows: Sequence[Asked]) -> None:
        """The counts of every hour of ``rows``."""
        hours: dict[tuple[datetime, str], list[Asked]] = {}
        for row in rows:
            moment, by = (row.time, "event") if row.time else (row.at + self.clock_off, "clock")
            hours.setdefault((moment.replace(minute=0, second=0, microsecond=0), by), []).append(row)
        for (start, by), found in hours.items():
            body = {
                "model": MODEL, "number": 1, "by": by, "counts": count_window(reference(), columns(found)).to_dict(),
                "starts_at": isoformat(start), "ends_at": isoformat(start + timedelta(hours=1)),
            }  # fmt: skip
            self._add(at, "window", body)

    def batch(
        self, records: Sequence[Record] | None = None, *, at: datetime = NOW, starts: int = 1, **facts: Any
    ) -> bytes:
        """A batch of some records, made at ``at``."""
        sent = self.records if records is None else records
        told = {
            "device": self.name, "starts": starts, "backlog": 0, "dropped": 0, "health": {},
            "clock": {"boot": self.boot.rpartition("-")[0], "mono_us": self._mono_us(at), "wall_us": self._wall_us(at)},
            **facts,
        }  # fmt: skip
        return write_batch(told, self.boot if sent else "", sent, self.seed)

    def _add(self, at: datetime, kind: str, body: dict[str, Any]) -> None:
        number = len(self.records) + 1
        self.records.append(Record(number, self._mono_us(at), self._wall_us(at), kind, json.dumps(body)))

    def _mono_us(self, at: datetime) -> int:
        return (at - self.began) // timedelta(microseconds=1)

    def _wall_us(self, at: datetime) -> int:
        return (at + self.clock_off - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def columns(rows: Sequence[Asked]) -> pa.Table:
    return pa.table(
        {
            "heat": pa.array([row.heat for row in rows], pa.float64()),
            "kind": pa.array([row.kind for row in rows], pa.string()),
            PREDICTION: pa.array([row.p for row in rows], pa.float64()),
        }
    )


def log_centrally(box: Box, rows: Sequence[Asked], truths: dict[int, str]) -> None:
    """The same rows answered by the box itself; ``truths`` by the row's place."""
    from mlops_box.serving.prediction_log import PredictionLog

    log = PredictionLog(box.home.predictions, box.db, box.clock)

    def build(take: Any) -> bytes:
        lines = []
        for place, row in enumerate(rows):
            ids = take(1)
            record = PredictionRecord(
                MODEL, 1, "champion", _us(row.at), ids,
                [{"heat": row.heat, "kind": row.kind, "time": isoformat(row.time) if row.time else None}],
                [row.p], ["true" if row.p > 0.5 else "false"], [[1 - row.p, row.p]], 1.0, time_column="time",
            )  # fmt: skip
            lines.append(record_line(record))
            if place in truths:
                truth = Truth(ids[0], truths[place], float(truths[place] == "true"))
                lines.append(truth_line(TruthRecord(MODEL, _us(row.at), [truth])))
        return b"".join(lines)

    log.write(build)
    log.close()


def _us(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def some_rows(count: int, *, seed: int = 0, event_times: bool = False, hours: float = 4) -> list[Asked]:
    """Rows at distinct moments from :data:`START` on, with values that are missing and a kind that training did not have."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(count):
        at = START + timedelta(hours=hours * index / count, milliseconds=index)
        heat = None if index % 11 == 3 else float(rng.normal(10, 2))
        kind = ("l", "m", None, "new")[index % 4]
        time = at - timedelta(minutes=50) if event_times else None
        found.append(Asked(at, heat, kind, float(rng.uniform(0.01, 0.99)), time))
    return found
