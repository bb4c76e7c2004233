"""A real device server and a real box: what the device answered is in the box's windows, by push, by pull and by stick."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_box.box import Box
from mlops_box.clock import SystemClock
from mlops_box.edge.device import ed25519
from mlops_box.edge.device.__main__ import main as agent
from mlops_box.edge.device.log import RingLog
from mlops_box.edge.device.place import Place
from mlops_box.edge.keys import KeyRing
from mlops_box.edge.signing import key_id, public_key
from mlops_box.models.golden import Golden
from mlops_box.monitoring.reference_tables import build_reference
from mlops_box.operations.edge.pull import pull
from mlops_box.operations.edge.sync import import_files
from mlops_box.operations.monitor import monitor
from mlops_box.operations.views.devices import device_detail
from tests.device_case import MODEL, PROJECT, SEED, open_box
from tests.integration.device_kit import (
    DeviceServer,
    fill_slot,
    make_place,
    running_device,
    serve_slot,
    wait_until,
)
from tests.integration.serving_kit import FAILS, Server, fails_model, running

RNG = np.random.default_rng(0)
HEAT = RNG.normal(10, 2, 500)
TRAINED = pa.table({"heat": HEAT, "kind": RNG.choice(["l", "m"], 500)})
ANSWERED = 1 / (1 + np.exp(10 - HEAT))


class Field:
    """A box with its server, and a device with its own."""

    def __init__(self, box: Box, server: Server, place: Place, device: DeviceServer):
        self.box, self.server, self.place, self.device = box, server, place, device

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.address.port}"

    def ask(self, count: int) -> list[str]:
        """Answered rows whose records are in the device's log."""
        log = RingLog(self.place.log, 1 << 40)
        before = log.backlog
        rows = [{"heat": 8.0 + index % 5, "kind": "lm"[index % 2]} for index in range(count)]
        status, _, answer = self.device.predict(MODEL, *rows)
        assert status == 200, answer
        wait_until(lambda: log.backlog >= before + count)
        log.close()
        return list(answer["ids"])

    def sync(self, *words: str) -> None:
        assert agent(["sync", "--root", str(self.place.root), *words]) == 0

    def backlog(self) -> int:
        log = RingLog(self.place.log, 1 << 40)
        try:
            return log.backlog
        finally:
            log.close()

    def logged(self) -> int:
        return int(self.box.predictions.predictions(MODEL).num_rows)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    folder = tmp_path_factory.mktemp("field")
    reference = build_reference(TRAINED, FAILS, predictions=ANSWERED)
    with open_box(folder / "home", SystemClock(), reference) as box:
        place = make_place(folder / "device")
        golden = Golden(({"heat": 10.0, "kind": "l"},), probability=((0.5, 0.5),))
        fill_slot(
            place, "a", MODEL, 1, packed=fails_model(), signature=FAILS, golden=golden, project=PROJECT,
            reference=TRAINED, predictions=ANSWERED,
        )  # fmt: skip
        serve_slot(place, "a")
        trusted = public_key(KeyRing(box.home.keys).current())
        place.keys.write_text(json.dumps({"revoked": [], "trusted": {key_id(trusted): trusted.hex()}}))
        place.device.write_text('{"boot_counter":1,"name":"press-7"}')
        place.device_key.write_bytes(SEED)
        with running(box.home.root) as server, running_device(place, "a") as device:
            yield Field(box, server, place, device)


def test_what_is_pushed_is_in_the_windows_once_and_gone_from_the_device(there: Field) -> None:
    ids = there.ask(20)
    truths = {"truth": [{"id": id_, "value": True} for id_ in ids[:5]]}
    assert there.device.call("POST", f"/models/{MODEL}/feedback", truths)[0] == 200
    there.sync("--push", there.url)
    assert there.backlog() == 0
    there.sync("--push", there.url)
    monitor(there.box)
    windows = there.box.windows.list(MODEL)
    assert sum(window.rows for window in windows) == 20
    assert sum(window.rows_with_truth for window in windows) == 5
    found = there.box.predictions.find(ids[3])
    assert found is not None
    assert (found["device"], found["variant"], found["feature:heat"]) == ("press-7", "device", 11.0)


def test_what_is_pulled_is_acknowledged_with_the_next_request(there: Field) -> None:
    before = there.logged()
    there.ask(12)
    receipts = pull(there.box, "press-7", f"http://127.0.0.1:{there.device.port}")
    assert sum(receipt.fresh for receipt in receipts) == 12
    assert (there.logged(), there.backlog()) == (before + 12, 0)


def test_who_is_not_the_box_gets_nothing_from_the_device(there: Field) -> None:
    there.ask(1)
    status, _, said = there.device.call(
        "POST", "/edge/outbox", {"format": 1, "device": "press-7", "ranges": {}}
    )
    assert (status, "malformed" in said["error"]["message"]) == (403, True)
    assert there.device.call("GET", "/edge/outbox")[0] == 405
    assert there.backlog() == 1


def test_a_stick_brings_it_and_takes_the_acknowledgement_back(there: Field, tmp_path: Path) -> None:
    before = there.logged()
    there.ask(7)
    waiting = there.backlog()
    there.sync("--to", str(tmp_path))
    assert there.backlog() == waiting
    files = sorted(tmp_path.glob("*.mbs"))
    assert [file.with_name(file.name + ".sha256").exists() for file in files] == [True] * len(files)
    done = import_files(there.box, [*files, *files], answers=tmp_path)
    assert there.logged() == before + waiting
    there.sync("--ack", *map(str, done.acknowledgements))
    assert there.backlog() == 0


@pytest.mark.parametrize("change", ["altered", "unknown", "removed", "no envelope"])
def test_what_no_device_of_this_box_signed_is_refused(there: Field, change: str, tmp_path: Path) -> None:
    there.sync("--to", str(tmp_path))
    whole = next(iter(tmp_path.glob("*.mbs"))).read_bytes()
    sent: Any = whole
    if change == "altered":
        sent = whole.replace(b'"payload":"H4sI', b'"payload":"H4sJ')
    if change == "no envelope":
        sent = b'{"rows": []}'
    if change == "unknown":
        sent = whole.replace(key_id(ed25519.public_key(SEED)).encode(), b"0" * 16)
    if change == "removed":
        there.box.devices.revoke("press-7")
    status, _, said = there.server.call("POST", "/edge/sync", sent)
    there.box.devices.add("press-7", ed25519.public_key(SEED))
    expected = {"altered": (422, "usage"), "no envelope": (422, "usage")}.get(change, (403, "device"))
    assert (status, said["error"]["code"]) == expected


def test_counts_of_a_stopped_server_add_nothing_to_rows_that_came(there: Field) -> None:
    there.sync("--push", there.url)
    monitor(there.box)
    rows = sum(window.rows for window in there.box.windows.list(MODEL))
    assert rows == there.logged()
    assert there.device.stop() == 0
    assert there.backlog() > 0
    there.sync("--push", there.url)
    monitor(there.box)
    assert there.box.db.one("SELECT COUNT(*) AS n FROM device_counts") != {"n": 0}
    assert there.box.db.one("SELECT COUNT(*) AS n FROM device_batches WHERE aside_digest IS NOT NULL") == {
        "n": 0
    }
    assert sum(window.rows for window in there.box.windows.list(MODEL)) == rows
    detail = device_detail(there.box, "press-7")
    assert (detail.row.serving, detail.row.state, detail.rows) == (f"{MODEL}@1", "fine", rows)
