"""Killed, or out of space, at every point of a protocol: the old state or the new one, never a third."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mlops_box.box import Box
from mlops_box.canonical import sha256_hex
from mlops_box.operations.verify import verify
from mlops_box.serving.prediction_log import PredictionLog
from mlops_box.serving.records import PredictionRecord
from mlops_box.serving.rollout.plan import Plan
from mlops_box.serving.rollout.states import Transition
from mlops_box.serving.rollout.yardstick import Yardstick
from mlops_box.serving.segment_lines import record_line

CHILD = Path(__file__).with_name("crash_child.py")


@pytest.fixture(scope="module")
def child() -> ModuleType:
    spec = importlib.util.spec_from_file_location("crash_child", CHILD)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, child: ModuleType) -> Path:
    """A home with a champion, a second version, and a closed segment of two predictions."""
    home = tmp_path_factory.mktemp("base") / "home"
    with Box.open(home, actor="tester") as box:
        digest = box.objects.put_bytes(b"model", kind="model")
        for run_id in ("run-1", "run-2"):
            box.models.register(child.draft(digest, run_id))
        box.models.set_champion(box.models.get("bikes@1"), reason="first")
        found = box.rollouts.propose(
            box.models.get("bikes@2"), base=1, plan=Plan(canary=[5]), yardstick=Yardstick(), reason="test"
        )
        assert box.rollouts.move(found, Transition("canary", 0, "test"))
        log = PredictionLog(box.home.predictions, box.db, box.clock)
        log.write(lambda take: record_line(record(take(2))))
        log.close()
    return home


def record(ids: Sequence[str]) -> PredictionRecord:
    at_us = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1e6)
    return PredictionRecord(
        model="bikes", number=1, variant="champion", at_us=at_us, ids=ids, rows=[{"x": 1.0}, {"x": 2.0}],
        predictions=[1.0, 2.0], labels=None, probabilities=None, latency_ms=1.0,
    )  # fmt: skip


def entries(box: Box, act: str) -> int:
    return sum(entry.act == act for entry in box.ledger.walk())


def object_state(box: Box, child: ModuleType) -> bool:
    digest = sha256_hex(child.BLOB)
    new = box.db.one("SELECT 1 FROM objects WHERE digest = ?", (digest,)) is not None
    if new:
        assert box.objects.read(digest) == child.BLOB
    return new


def register_state(box: Box, child: ModuleType) -> bool:
    numbers = [version.number for version in box.models.list("bikes")]
    assert numbers in ([2, 1], [3, 2, 1])
    assert entries(box, "model.register") == len(numbers)
    if len(numbers) == 3:
        assert box.models.file(box.models.get("bikes@3"), "model.onnx") == child.BLOB
    return len(numbers) == 3


def champion_state(box: Box, child: ModuleType) -> bool:
    aliases = box.models.aliases("bikes")
    new = aliases["champion"] == 2
    assert aliases == ({"champion": 2, "last_good": 1} if new else {"champion": 1})
    assert entries(box, "model.promote") == (2 if new else 1)
    return new


def seal_state(box: Box, child: ModuleType) -> bool:
    table = box.predictions.predictions("bikes")
    assert table.num_rows in (0, 2)
    assert entries(box, "predictions.seal") == (1 if table.num_rows else 0)
    if table.num_rows == 0:
        assert len(list(box.home.predictions.glob("*.log"))) == 1, (
            "the raw file stays until its rows are registered"
        )
    return table.num_rows == 2


def rollout_state(box: Box, child: ModuleType) -> bool:
    (found,) = box.rollouts.list("bikes")
    new = found.state == "champion"
    aliases = box.models.aliases("bikes")
    assert aliases == ({"champion": 2, "last_good": 1} if new else {"champion": 1})
    assert new or found.state == "canary"
    assert entries(box, "rollout.champion") == new
    assert entries(box, "model.promote") == (2 if new else 1)
    return new


STATES: dict[str, Callable[[Box, Any], bool]] = {
    "put_bytes": object_state,
    "put_file": object_state,
    "register": register_state,
    "champion": champion_state,
    "seal": seal_state,
    "rollout": rollout_state,
}


def sweep(base: Path, out: Path, operation: str, mode: str) -> list[dict[str, Any]]:
    found = subprocess.run(
        [sys.executable, CHILD, base, out, operation, mode], capture_output=True, text=True, timeout=500
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "Traceback" not in found.stderr, found.stderr
    return [json.loads(line) for line in found.stdout.splitlines()]


def settle(home: Path, operation: str, child: ModuleType) -> bool:
    """Open what a failure left: it is whole, and the operation can be done again. Returns whether it was the new state."""
    with Box.open(home, actor="tester") as box:
        assert verify(box).problems == (), home
        was_new = STATES[operation](box, child)
        child.OPERATIONS[operation](box)
        assert STATES[operation](box, child)
        assert verify(box).problems == ()
        box.objects.sweep(older_than=timedelta(seconds=-60))
        assert list(box.home.objects.rglob(".tmp-*")) == []
    return was_new


@pytest.mark.parametrize("operation", STATES)
def test_killed_at_any_point_the_box_holds_the_old_state_or_the_new(
    operation: str, base: Path, child: ModuleType, tmp_path: Path
) -> None:
    tries = sweep(base, tmp_path, operation, "kill")
    states = [settle(Path(one["home"]), operation, child) for one in tries]
    assert [one["killed"] for one in tries] == [True] * (len(tries) - 1) + [False]
    assert len(tries) >= 6, "too few points: the hooks do not see the protocol"
    assert states[0] is False
    assert states[-1] is True
    assert states == sorted(states), "once new, it stays new"


@pytest.mark.parametrize("operation", ["put_bytes", "put_file", "register", "seal"])
def test_out_of_space_at_any_point_is_one_clear_error_and_nothing_half_done(
    operation: str, base: Path, child: ModuleType, tmp_path: Path
) -> None:
    tries = sweep(base, tmp_path, operation, "full")
    assert [one["code"] for one in tries] == [3] * (len(tries) - 1) + [0]
    assert len(tries) >= 3
    for one in tries[:-1]:
        assert settle(Path(one["home"]), operation, child) is False


def test_the_sweep_bites_when_the_row_is_written_before_the_file(
    base: Path, child: ModuleType, tmp_path: Path
) -> None:
    """The negative control: a protocol in the wrong order is caught by the same checks."""
    broken = 0
    for one in sweep(base, tmp_path, "row_first", "kill"):
        with Box.open(Path(one["home"]), actor="tester") as box:
            broken += any("missing" in problem.what for problem in verify(box).problems)
    assert broken >= 3
