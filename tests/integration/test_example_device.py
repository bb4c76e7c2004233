"""The milling machine's model goes to a device, answers there, and what it saw comes home: the README's commands, run."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from mlops_box.box import Box
from mlops_box.operations.edge.export import ExportRequest, export_bundle
from tests.edge_kit import installed_target

sys.path.insert(0, str(Path(__file__).parent))
from example_kit import Example, public


@pytest.mark.slow
def test_a_device_beside_the_mill_is_simulated_installed_and_synced(tmp_path: Path) -> None:
    source = public("ai4i2020/ai4i2020.csv")
    mill = Example("milling_machine", tmp_path)
    shutil.copy(source, mill.folder / "data" / "ai4i2020.csv")
    mill.box("train", "--direct")
    mill.python("make_traffic.py")
    target, wheels = installed_target(tmp_path / "wheels")
    bundle = mill.folder / "mill.mbx"
    with Box.open(mill.home) as box:
        export_bundle(box, "milling-machine@champion", ExportRequest(target), out=bundle, wheels=wheels)
    assert mill.box("edge", "inspect", str(bundle))["verified_by"]
    assert mill.box("edge", "simulate", str(bundle))["confirmed"] == "milling-machine@1"

    key = mill.box("edge", "keys", "show")["public_key"]
    told = mill.python("field_device.py", str(bundle), key)
    assert "625 rows answered" in told
    assert "serving milling-machine@1" in told
    found = re.search(r"devices add mill-1 ([0-9a-f]{64})", told)
    assert found is not None
    mill.box("edge", "devices", "add", "mill-1", found[1])
    stick = mill.folder / "stick"
    batches = [str(file) for file in sorted(stick.glob("*.mbs"))]
    for _ in range(2):
        mill.box("edge", "import", *batches, "--ack", str(stick))
    assert "were deleted here" in mill.python("field_device.py", "--ack", str(stick / "mill-1.ack"))
    outcome = mill.box("monitor", "milling-machine", "--direct")
    assert sum(window["rows"] for window in outcome["windows"]) == 625, "imported twice, counted once"
    assert {alert["kind"] for alert in outcome["alerts"]} >= {"drift"}
