"""However a device's records arrive, the windows are those of a box that answered all the requests itself."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mlops_box.box import Box
from mlops_box.edge.device.batch import Record
from mlops_box.operations.edge.sync import receive
from mlops_box.operations.monitor import monitor
from tests.device_case import MACHINE, MODEL, START, Device, log_centrally, open_box, some_rows

ROWS = 60
# The seed says all of an example: there is nothing to shrink.
FEW = settings(
    max_examples=2, deadline=None, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip


def windows(box: Box, *, profiles: bool = True) -> list[Any]:
    """All that was found, window by window."""
    found = box.windows.list(MODEL, limit=1000)
    return [
        (
            window.starts_at, window.rows, window.rows_with_truth, window.summary["counts_digest"],
            (window.profile_digest, window.summary["rows_digest"]) if profiles else None,
            window.drift.to_dict(), window.quality.to_dict() if window.quality else None,
        )
        for window in found
    ]  # fmt: skip


def lives(event_times: bool) -> tuple[list[Device], list[Any], dict[int, str]]:
    """Two boots of one device, with ground truth for every third row."""
    rows = some_rows(ROWS, event_times=event_times, hours=2)
    truths = {place: ("true", "false")[place % 2] for place in range(0, ROWS, 3)}
    devices = []
    for number, part in enumerate((range(25), range(25, ROWS)), start=1):
        device = Device(boot=f"{MACHINE}-{number}")
        mine = [rows[place] for place in part]
        device.ask(mine)
        for place in part:
            if place in truths:
                device.tell(rows[place].at, device.id(place - part[0]), truths[place])
        device.count(rows[part[-1]].at, mine)
        devices.append(device)
    return devices, rows, truths


@pytest.fixture(scope="module", params=[False, True], ids=["by clock", "by event time"])
def central(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[bool, list[Any]]:
    with open_box(tmp_path_factory.mktemp("central") / "home") as box:
        _, rows, truths = lives(request.param)
        log_centrally(box, rows, truths)
        monitor(box)
        return request.param, windows(box)


@FEW
@given(seed=st.integers(0, 2**32))
def test_duplicated_reordered_and_partial_syncs_count_every_row_once(
    central: tuple[bool, list[Any]], tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    event_times, expected = central
    devices, _, _ = lives(event_times)
    chance = random.Random(seed)
    parts = [(device, part) for device in devices for part in _torn(device.records, chance)]
    chance.shuffle(parts)
    with open_box(tmp_path_factory.mktemp("box") / "home") as box:
        for index, (device, part) in enumerate(parts):
            receive(box, device.batch(part, starts=index + 1), way="file")
            if chance.random() < 0.1:
                monitor(box)
        monitor(box)
        assert windows(box) == expected
        assert box.predictions.predictions(MODEL).num_rows == ROWS


@FEW
@given(seed=st.integers(0, 2**32))
def test_counts_stand_for_dropped_rows_and_for_no_other(
    central: tuple[bool, list[Any]], tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    event_times, expected = central
    devices, _, _ = lives(event_times)
    chance = random.Random(seed)
    share = chance.random()
    parts = []
    for device in devices:
        kept = [record for record in device.records if record.kind != "prediction" or chance.random() < share]
        parts += [(device, part) for part in _torn(kept, chance)]
    chance.shuffle(parts)
    with open_box(tmp_path_factory.mktemp("box") / "home") as box:
        for index, (device, part) in enumerate(parts):
            receive(box, device.batch(part, starts=index + 1), way="file")
            if chance.random() < 0.1:
                monitor(box)
        monitor(box)
        found = windows(box, profiles=False)
        assert [item[:2] for item in found] == [item[:2] for item in expected]
        assert [item[3] for item in found] == [item[3] for item in expected]


def _torn(records: list[Record], chance: random.Random) -> list[list[Record]]:
    """Overlapping pieces, some twice, that hold every record together."""
    pieces = []
    for _ in range(chance.randint(0, 4)):
        first = chance.randrange(len(records)) if records else 0
        pieces.append(records[first : first + chance.randint(1, len(records) or 1)])
    step = chance.randint(7, 40)
    pieces += [records[place : place + step] for place in range(0, len(records), step)]
    return [piece for piece in [*pieces, *chance.sample(pieces, min(2, len(pieces)))] if piece]


def test_the_case_is_worth_testing() -> None:
    devices, rows, _ = lives(False)
    assert rows[0].at == START
    assert {record.kind for device in devices for record in device.records} == {
        "prediction",
        "truth",
        "window",
    }
