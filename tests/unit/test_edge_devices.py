"""Devices bring what they remember: right clocks, nothing foreign, nothing lost, and alerts about who is unwell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mlops_box.box import Box
from mlops_box.cli.edge import command as edge
from mlops_box.clock import FixedClock
from mlops_box.edge.arrivals import merged
from mlops_box.edge.device import ed25519
from mlops_box.edge.device.batch import Record, acknowledgement, read_acknowledgement, read_batch, write_batch
from mlops_box.edge.device.boot import boot_id
from mlops_box.edge.device.dsse import wrap
from mlops_box.edge.device.errors import Refused
from mlops_box.edge.device.log import Entry, RingLog
from mlops_box.edge.device.outgoing import Outgoing
from mlops_box.edge.device.place import Place
from mlops_box.edge.device_clock import DeviceClock, Reading
from mlops_box.edge.keys import KeyRing
from mlops_box.edge.signing import key_id, public_key
from mlops_box.errors import UsageError
from mlops_box.operations.edge.device_alerts import watch_devices
from mlops_box.operations.edge.sync import acknowledge, import_files, receive
from mlops_box.operations.monitor import monitor
from mlops_box.operations.views.devices import device_detail, list_devices
from tests.device_case import BOOT, MACHINE, MODEL, NOW, SEED, START, Device, open_box, some_rows

OTHER_SEED = bytes(32)
TRUSTED = {key_id(ed25519.public_key(SEED)): ed25519.public_key(SEED)}


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with open_box(tmp_path / "home") as box:
        yield box


def hours(box: Box) -> dict[int, int]:
    """Rows by the hour after START of their event time."""
    found: dict[int, int] = {}
    for at in box.predictions.predictions(MODEL)["event_time"].to_pylist():
        hour = (at - START) // timedelta(hours=1)
        found[hour] = found.get(hour, 0) + 1
    return found


@pytest.mark.parametrize("off", [timedelta(0), timedelta(days=-9000), timedelta(hours=5, minutes=13)])
def test_a_wrong_clock_is_corrected_by_the_monotonic_one(box: Box, off: timedelta) -> None:
    device = Device(clock_off=off)
    device.ask(some_rows(40))
    device.count(START + timedelta(hours=5), some_rows(40))
    receive(box, device.batch(), way="push")
    assert hours(box) == {0: 10, 1: 10, 2: 10, 3: 10}
    monitor(box)
    assert [window.rows for window in box.windows.list(MODEL)] == [10, 10, 10, 10]
    assert list_devices(box)[0].clock_offset_s == -off.total_seconds()


def test_a_declared_event_time_stays_whatever_the_clock_says(box: Box) -> None:
    device = Device(clock_off=timedelta(days=-9000))
    device.ask(some_rows(40, event_times=True))
    receive(box, device.batch(), way="push")
    assert hours(box) == {-1: 9, 0: 10, 1: 10, 2: 10, 3: 1}


def test_rows_of_a_wrong_clock_that_come_after_their_counts_take_their_place(box: Box) -> None:
    device = Device(clock_off=timedelta(days=-9000, minutes=20))
    rows = some_rows(40)
    device.ask(rows)
    device.count(START + timedelta(hours=5), rows)
    counts = [record for record in device.records if record.kind == "window"]
    receive(box, device.batch(counts), way="push")
    monitor(box)
    assert sum(window.rows for window in box.windows.list(MODEL)) == 40
    drift = device_detail(box, "press-7").drift
    assert {name for window in drift for name, _ in window.psi} == {"heat", "kind", "(prediction)"}
    receive(box, device.batch(), way="push")
    monitor(box)
    found = box.windows.list(MODEL)
    assert sum(window.rows for window in found) == 40
    assert sum(window.summary["rows_counted"] for window in found) == 0


def test_a_late_batch_revises_past_windows(box: Box) -> None:
    device = Device()
    device.ask(some_rows(40))
    receive(box, device.batch(device.records[::2]), way="file")
    monitor(box)
    assert [window.rows for window in box.windows.list(MODEL)] == [5, 5, 5, 5]
    receive(box, device.batch(), way="file")
    monitor(box)
    assert [window.rows for window in box.windows.list(MODEL)] == [10, 10, 10, 10]


def test_clocks_that_were_compared_once_date_alike_ever_after() -> None:
    clock = DeviceClock().compared(Reading(MACHINE, 1_000_000, 50_000_000), 90_000_000)
    again = clock.compared(Reading(MACHINE, 2_000_000, 51_000_000), 91_400_000)
    assert again.zeros_us == clock.zeros_us == {MACHINE: 89_000_000}
    assert clock.happened_us(BOOT, 500_000, 49_500_000, now_us=10**12) == 89_500_000
    # Another boot has the last known offset; nothing happens after it was received.
    assert clock.happened_us("f" * 32 + "-9", 1, 10_000_000, now_us=10**12) == 50_000_000
    assert DeviceClock().happened_us(BOOT, 1, 10**12, now_us=10**9) == 10**9 + 2_000_000


def test_what_cannot_be_used_is_kept_aside_and_holds_up_nothing(box: Box) -> None:
    device = Device()
    device.ask(some_rows(8))
    good = json.loads(device.records[0].body)
    spoilt = [
        "no json", json.dumps({**good, "model": "nobody"}), json.dumps({**good, "number": 9}),
        json.dumps({**good, "probability": [1.0]}), json.dumps({**good, "label": "maybe"}),
        json.dumps({**good, "id": "x"}), json.dumps({**good, "row": {"heat": [1]}}), json.dumps({**good, "time": "noon"}),
        json.dumps({**good, "latency_ms": "fast"}), json.dumps({}),
    ]  # fmt: skip
    for body in spoilt:
        device.records.append(Record(len(device.records) + 1, 1, 1, "prediction", body))
    device.tell(START, device.id(0), "perhaps")
    device.records.append(Record(len(device.records) + 1, 1, 1, "window", json.dumps({"model": MODEL, "number": 1, "by": "clock", "counts": {"rows": 3, "columns": []}, "starts_at": "2026-01-01T00:00Z", "ends_at": "2026-01-01T01:00Z"})))  # fmt: skip
    receipt = receive(box, device.batch(), way="file")
    assert (receipt.fresh, receipt.aside) == (20, 12)
    assert box.predictions.predictions(MODEL).num_rows == 8
    batch = device_detail(box, "press-7").batches[0]
    assert batch.aside_digest is not None
    aside = json.loads(box.objects.read(batch.aside_digest))
    assert [item["body"] for item in aside[:10]] == spoilt
    assert all(item["why"] for item in aside)


def test_a_device_speaks_of_its_own_predictions_only(box: Box) -> None:
    mine, other = Device(), Device(boot=f"{MACHINE}-2", seed=OTHER_SEED, name="press-8")
    box.devices.add("press-8", ed25519.public_key(OTHER_SEED))
    mine.ask(some_rows(4))
    receive(box, mine.batch(), way="file")
    other.tell(START, mine.id(0), "true")
    other.records.append(mine.records[1]._replace(seq=2))
    assert receive(box, other.batch(), way="file").aside == 2
    assert box.predictions.truth(MODEL).num_rows == 0


@pytest.mark.parametrize("change", ["signature", "key", "name", "revoked", "header"])
def test_a_batch_that_is_not_the_device_s_changes_nothing(box: Box, change: str) -> None:
    device = Device(
        seed=OTHER_SEED if change == "key" else SEED, name="press-9" if change == "name" else "press-7"
    )
    device.ask(some_rows(3))
    envelope = device.batch(clock={}) if change == "header" else device.batch()
    if change == "signature":
        envelope = envelope.replace(b'"sig":"', b'"sig":"AAAA', 1)
    if change == "revoked":
        box.devices.revoke("press-7")
    head = box.ledger.head()
    with pytest.raises(UsageError):
        receive(box, envelope, way="push")
    assert box.ledger.head() == head
    assert box.predictions.predictions(MODEL).num_rows == 0


def test_a_bomb_and_a_torn_batch_are_refused() -> None:
    import gzip

    whole = Device().batch()
    assert read_batch(whole, TRUSTED).records == ()
    for payload in (
        gzip.compress(b"\0" * (17 << 20)),
        gzip.compress(b"{}\n")[:-4],
        b"plain",
        gzip.compress(b"[]\n"),
    ):
        with pytest.raises(Refused):
            read_batch(wrap("application/vnd.mlops-box.sync+json", payload, SEED), TRUSTED)
    swapped = [Record(2, 0, 0, "truth", "{}"), Record(1, 0, 0, "truth", "{}")]
    with pytest.raises(Refused, match="order"):
        read_batch(write_batch({"device": "d"}, "b-1", swapped, SEED), TRUSTED)


def test_ranges_merge_to_the_fewest() -> None:
    assert merged([(7, 9), (1, 2), (3, 4), (8, 12), (20, 20)]) == [(1, 4), (7, 12), (20, 20)]


@pytest.fixture
def place(tmp_path: Path, box: Box) -> Place:
    """A device folder whose device the box knows, and which trusts the box."""
    place = Place(tmp_path / "device")
    for folder in place.folders():
        folder.mkdir(parents=True)
    trusted = public_key(KeyRing(box.home.keys).current())
    place.keys.write_text(json.dumps({"revoked": [], "trusted": {key_id(trusted): trusted.hex()}}))
    place.device.write_text('{"boot_counter":1,"name":"press-7"}')
    place.device_key.write_bytes(SEED)
    return place


def fill(place: Place, records: list[Record], boot: str = BOOT) -> RingLog:
    log = RingLog(place.log, 1 << 30)
    log.append([Entry(boot, item.mono_us, item.at_us, item.kind, item.body) for item in records])
    return log


def test_nothing_is_deleted_before_the_box_has_it(box: Box, place: Place) -> None:
    device = Device()
    device.ask(some_rows(10))
    log = fill(place, device.records)
    with Outgoing(place) as outgoing:
        made = outgoing.next()
        assert outgoing.take(acknowledge(box, "press-7", [BOOT])) == 0
        receive(box, made.envelope, way="push")
        for wrong in (
            wrap(
                "application/vnd.mlops-box.sync-ack+json", acknowledgement("press-7", {BOOT: [(1, 10)]}), SEED
            ),
            acknowledge(box, "press-8", [BOOT]),
            made.envelope,
        ):
            with pytest.raises(Refused):
                outgoing.take(wrong)
        assert log.backlog == 10
        assert outgoing.take(acknowledge(box, "press-7", [BOOT])) == 10
    assert log.backlog == 0


def test_an_acknowledgement_with_a_gap_keeps_what_is_behind_it(box: Box, place: Place) -> None:
    device = Device()
    device.ask(some_rows(10))
    log = fill(place, device.records)
    receive(box, device.batch(device.records[:3]), way="file")
    receive(box, device.batch(device.records[6:]), way="file")
    with Outgoing(place) as outgoing:
        assert outgoing.take(acknowledge(box, "press-7", [BOOT])) == 3
    assert log.backlog == 7


def test_a_batch_is_of_one_boot_and_named_by_what_it_holds(place: Place) -> None:
    device = Device()
    device.ask(some_rows(4))
    fill(place, device.records[:2])
    fill(place, device.records[2:], boot=f"{MACHINE}-2")
    with Outgoing(place) as outgoing:
        made = list(outgoing.all())
    assert [item.name for item in made] == [f"press-7-{BOOT}-1-2.mbs", f"press-7-{MACHINE}-2-3-4.mbs"]
    header = read_batch(made[0].envelope, TRUSTED).header
    assert header["clock"]["boot"] == boot_id()
    assert header["health"]["device"] == "press-7"


def test_a_device_that_is_silent_falls_back_or_drops_records_raises_one_alert(box: Box) -> None:
    clock = box.clock
    assert isinstance(clock, FixedClock)
    assert watch_devices(box) == []
    digest = box.models.get(MODEL).digest
    device = Device()
    receive(
        box, device.batch(starts=1, health={"serving": f"{MODEL}@0", "bad": [digest]}, dropped=7), way="push"
    )
    (opened,) = watch_devices(box)
    assert (opened.change, opened.alert.severity) == ("opened", "error")
    assert f"{MODEL}@1 did not prove itself there" in opened.alert.title
    assert "dropped 7 records" in opened.alert.title
    receive(box, device.batch(starts=2, health={"serving": f"{MODEL}@1", "bad": []}, dropped=7), way="push")
    (resolved,) = watch_devices(box)
    assert resolved.change == "resolved"
    clock.advance(timedelta(days=8))
    (silent,) = watch_devices(box)
    assert "was not seen since" in silent.alert.title
    assert list_devices(box)[0].state == "trouble"
    box.devices.revoke("press-7")
    assert [item.change for item in watch_devices(box)] == ["resolved"]


def test_an_old_report_that_comes_late_does_not_replace_a_newer_one(box: Box) -> None:
    device = Device()
    old = device.batch(starts=3, at=NOW - timedelta(days=1), backlog=900)
    receive(box, device.batch(starts=3, backlog=2), way="push")
    receive(box, old, way="file")
    assert list_devices(box)[0].backlog == 2


def test_a_device_is_added_shown_and_removed_by_command(tmp_path: Path) -> None:
    home = ["--home", str(tmp_path / "home"), "--json"]

    def run(*words: str) -> Any:
        done = CliRunner().invoke(edge, [*words, *home], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.output)

    with open_box(tmp_path / "home"):
        device = Device(boot=f"{MACHINE}-4")
        device.ask(some_rows(5))
        file = tmp_path / "batch.mbs"
        file.write_bytes(device.batch(health={"slots": {"a": {"version": "mill@1", "role": "confirmed"}}}))
    key = ed25519.public_key(OTHER_SEED).hex()
    assert run("devices", "add", "press-8", key) == run("devices", "add", "press-8", key)
    done = run("import", str(file), "--ack", str(tmp_path))
    assert done["batches"][0]["fresh"] == 5
    ranges = read_acknowledgement((tmp_path / "press-7.ack").read_bytes(), "press-7", _box_keys(tmp_path))
    assert ranges == {f"{MACHINE}-4": [(1, 5)]}
    shown = run("devices", "show", "press-7")
    assert (shown["rows"], shown["slots"][0]["version"]) == (5, "mill@1")
    run("devices", "remove", "press-8")
    assert [row["state"] for row in run("devices", "list")] == ["fine", "removed"]
    for words in (("devices", "show", "press-7"), ("devices", "list")):
        assert "press-7" in CliRunner().invoke(edge, [*words, *home[:2]]).output


def test_one_bad_file_is_named_and_the_others_are_taken_over(box: Box, tmp_path: Path) -> None:
    device = Device()
    device.ask(some_rows(5))
    good, bad = tmp_path / "good.mbs", tmp_path / "bad.mbs"
    good.write_bytes(device.batch())
    bad.write_bytes(b"{}")
    with pytest.raises(UsageError, match=r"bad\.mbs"):
        import_files(box, [bad, good], answers=tmp_path)
    assert (tmp_path / "press-7.ack").exists()
    assert box.predictions.predictions(MODEL).num_rows == 5


def _box_keys(folder: Path) -> dict[str, bytes]:
    public = public_key(KeyRing(folder / "home" / "keys").current())
    return {key_id(public): public}
