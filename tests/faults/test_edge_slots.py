"""A device is never left broken: cut off anywhere, it serves the old version or the new good one, and goes on."""

from __future__ import annotations

import itertools
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_box.edge.device import rescue as rescue_module
from mlops_box.edge.device import state as state_module
from mlops_box.edge.device.admission import Overrides
from mlops_box.edge.device.child import Address
from mlops_box.edge.device.choice import choose
from mlops_box.edge.device.errors import Refused
from mlops_box.edge.device.health import Patience
from mlops_box.edge.device.outcome import confirm, count_attempt, roll_back
from mlops_box.edge.device.state import load
from mlops_box.edge.device.supervise import Supervisor
from tests.edge_case import Packer, content, put, put_confirmed
from tests.edge_faults import ACTS, Act, Case, Devices, stage_cases, starts


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devices]:
    """In memory where that can be: what is tested is the order of calls, and fsync is most of the time."""
    memory = Path("/dev/shm")
    folder = memory if os.access(memory, os.W_OK) else tmp_path_factory.getbasetemp()
    with tempfile.TemporaryDirectory(dir=folder, prefix="edge-faults-") as made:
        yield Devices(Path(made))


def test_cut_off_at_every_stage_of_every_act_nothing_is_lost(devices: Devices) -> None:
    cases = list(stage_cases())
    assert len(cases) == (6 + 6 + 4) * 3 * 2
    met = {case.name: devices.meet(case) for case in cases}
    assert [name for name, (reached, _) in met.items() if not reached] == []
    assert {name: problems for name, (_, problems) in met.items() if problems} == {}


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.name)
def test_cut_off_between_calls_that_change_the_disk_nothing_is_lost(act: Act, devices: Devices) -> None:
    """Each call where an act has few; every eleventh of an install here, every one in the benchmark."""
    step = 11 if act.name.startswith("install") else 1
    for fault in ("kill", "error", "full"):
        call, reached = 1, True
        while reached:
            reached, problems = devices.meet(Case(act, fault, call=call))  # type: ignore[arg-type]
            assert problems == [], f"{act.name}: {fault} at call {call}"
            call += step
        assert call > 3 * step


def test_a_version_whose_starts_all_fail_falls_back_and_is_not_taken_again(devices: Devices) -> None:
    """The power goes at every start: three attempts, then the old version, however often it goes on."""
    place = devices.device("served")
    put(place, Packer(number=2).pack())
    assert [starts(place) for _ in range(6)] == ["pump@2"] * 3 + ["pump@1"] * 3
    with pytest.raises(Refused, match="marked bad"):
        put(place, Packer(number=2).pack())
    put(place, Packer(number=2).pack(), overrides=Overrides(again="the sensor was unplugged"))
    assert load(place).history[-1]["why"] == "the sensor was unplugged"
    assert starts(place) == "pump@2"


def test_an_attempt_that_cannot_be_written_down_is_not_made(
    devices: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = devices.device("served")
    put(place, Packer(number=2).pack())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state_module, "write_whole", full)
    assert starts(place) == "pump@1"


def test_a_full_disk_is_not_tried_ten_times_a_second(
    devices: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = devices.device("served")
    put(place, Packer(number=2).pack())
    tried_s: list[float] = []

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def tell(line: str) -> None:
        if line.startswith("no attempt"):
            tried_s.append(time.monotonic())

    monkeypatch.setattr(state_module, "write_whole", full)
    supervisor = Supervisor(place, Address("127.0.0.1", 0), Patience(), tell)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        end = time.monotonic() + 120
        # The first is the start's own.
        while len(tried_s) < 4 and time.monotonic() < end:
            time.sleep(0.05)
    finally:
        supervisor.stop()
        thread.join()
    waits_s = [later - earlier for earlier, later in itertools.pairwise(tried_s[1:])]
    assert waits_s[0] >= 1.0
    assert waits_s[1] >= 2.0


def test_a_state_that_is_damaged_on_a_full_disk_keeps_nothing_from_serving(
    devices: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = devices.device("updated")
    place.state.unlink()
    place.state.write_bytes(b"{")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rescue_module, "save", full)
    assert starts(place) == "pump@2"


def test_a_damaged_slot_gives_way_to_the_one_before(devices: Devices) -> None:
    place = devices.device("updated")
    model = place.bundle("b") / "model/packed.onnx"
    damaged = model.read_bytes()[:-1] + b"!"
    model.unlink()
    model.write_bytes(damaged)
    assert starts(place) == "pump@1"
    assert load(place).history[-1]["why"] == "model/packed.onnx was altered"


def test_a_confirmed_version_that_never_becomes_ready_gives_way_to_the_one_before(devices: Devices) -> None:
    place = devices.device("updated")
    choices = [choose(place, lambda line: None, crashes=crashes) for crashes in (4, 5)]
    assert [choice.slot.version for choice in choices if choice] == ["pump@2", "pump@1"]


@pytest.mark.parametrize(
    "damaged", [b"", b"{", b"\0" * 300, b'{"format":1}'], ids=["empty", "cut", "zeros", "lacking"]
)
def test_a_damaged_state_is_made_anew_from_the_slots(damaged: bytes, devices: Devices) -> None:
    place = devices.device("updated")
    place.state.unlink()
    place.state.write_bytes(damaged)
    assert starts(place) == "pump@2"
    state = load(place)
    assert (state.confirmed, state.previous, state.history[-1]["act"]) == ("b", "a", "rescue")


def test_a_damaged_state_never_makes_a_trial_the_confirmed_version(devices: Devices) -> None:
    place = devices.device("tried")
    place.state.unlink()
    place.state.write_bytes(b"\0")
    assert starts(place) == "pump@1"


def test_rolled_back_twice_it_is_where_it_was(devices: Devices) -> None:
    place = devices.device("updated")
    served = []
    for _ in range(2):
        roll_back(place, "a look at the old one")
        served.append(starts(place))
    assert served == ["pump@1", "pump@2"]


def test_there_is_no_way_back_below_the_epoch_without_a_reason(devices: Devices) -> None:
    place = devices.device("served")
    put(place, Packer(number=2, manifest={"epoch": 3}).pack())
    count_attempt(place)
    confirm(place)
    with pytest.raises(Refused) as caught:
        roll_back(place)
    assert caught.value.rule == "device.epoch"
    roll_back(place, old_epoch="the new one has no licence")
    assert starts(place) == "pump@1"


def test_a_model_alone_shares_the_layers_and_what_nobody_names_is_removed(devices: Devices) -> None:
    place = devices.device("served")
    shared = {path.name for path in place.layers.iterdir()}
    put_confirmed(place, Packer(number=2, kind="model-only").pack())
    assert {path.name for path in place.layers.iterdir()} == shared
    other = {**content(), "runtime/mlops_edge/more.py": b"MORE = 1\n"}
    put_confirmed(place, Packer(number=3, files=other).pack())
    put_confirmed(place, Packer(number=4, files=other, kind="model-only").pack())
    assert len({path.name for path in place.layers.iterdir()} & shared) == 1, (
        "only the wheels are still named"
    )
