"""From a champion to a file, and from the file to a device that serves: with the real runtime, without network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mlops_box.box import Box
from mlops_box.canonical import canonical_json, sha256_hex
from mlops_box.edge.bundle import Description, Limits, layer_of, pack
from mlops_box.edge.device.archive import open_verified
from mlops_box.edge.keys import KeyChange, KeyRing
from mlops_box.edge.targets import Target
from mlops_box.edge.wheels import WheelCache
from mlops_box.errors import GateError, UsageError
from mlops_box.operations.edge.bundle import box_keys, inspect_bundle, verify_bundle
from mlops_box.operations.edge.export import ExportRequest, export_bundle
from mlops_box.operations.edge.simulate import simulate_bundle
from mlops_box.operations.train import train
from tests.edge_kit import TARGET, installed_target, small_provenance
from tests.integration.train_kit import commander, edit, write_houses

MODEL_ONLY = ExportRequest(TARGET, model_only=True)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A box with a champion, houses@1, and a rejected houses@2."""
    folder = tmp_path_factory.mktemp("edge")
    project = write_houses(folder / "project")
    with Box.open(folder / "home") as box:
        train(box, project)
        with pytest.raises(GateError):
            train(box, edit(folder / "project", "max = 30", "max = 0.001"))
        train_declared_again = edit(folder / "project", "max = 0.001", "max = 30")
        box.projects.register(train_declared_again)
    return folder / "home"


@pytest.fixture
def box(home: Path) -> Iterator[Box]:
    with Box.open(home) as opened:
        yield opened


def test_the_same_version_gives_the_same_signed_bytes(box: Box, tmp_path: Path) -> None:
    first, second = (
        export_bundle(box, "houses@champion", MODEL_ONLY, out=tmp_path / name) for name in ("a.mbx", "b.mbx")
    )
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.sizes["whole"] < 500_000
    bundle = open_verified(first.path, box_keys(box))
    assert (bundle.manifest.kind, bundle.manifest.version) == ("model-only", "houses@1")
    assert {name for name in bundle.manifest.files if not name.startswith("model/")} == set()
    contract = json.loads(bundle.read("model/contract.json"))
    assert contract["columns"]["area"] == {"type": "double", "min": 0.0, "max": 1000.0}
    assert (contract["features"], contract["window_seconds"]) == (["area", "town"], 3600.0)
    assert verify_bundle(first.path, trusted=box_keys(box)).verified_by == first.key_ids[0]
    acts = [entry for entry in box.ledger.entries(subject="version:houses@1") if entry.act == "edge.export"]
    assert acts[0].facts["sha256"] == sha256_hex(first.path.read_bytes())


def test_a_rejected_version_does_not_leave_the_box(box: Box, tmp_path: Path) -> None:
    with pytest.raises(GateError, match="does not leave the box"):
        export_bundle(box, "houses@2", MODEL_ONLY, out=tmp_path / "x.mbx")
    assert list(tmp_path.iterdir()) == []


def test_int8_is_decided_once_per_version(box: Box, tmp_path: Path) -> None:
    request = replace(MODEL_ONLY, int8="auto")
    reports = [export_bundle(box, "houses", request, out=tmp_path / "i.mbx").int8 for _ in range(2)]
    assert reports[0] == reports[1]
    assert reports[0] is not None
    assert "no smaller" in reports[0].reason
    acts = [entry.act for entry in box.ledger.entries(subject="version:houses@1")]
    assert acts.count("edge.int8") == 1


def test_the_commands_say_whose_a_bundle_is(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run, file = commander(home, capfd), str(tmp_path / "h.mbx")
    told = run(
        "edge", "export", "houses", "--target", TARGET.name, "--model-only", "--out", file, "--json"
    ).json
    assert (told["version"], told["kind"], told["int8"]) == ("houses@1", "model-only", None)
    shown = run("edge", "keys", "show", "--json").json
    assert told["key_ids"] == [shown["key_id"]]
    assert "verified: every byte" in run("edge", "inspect", file).out
    stranger = "ab" * 32
    assert "NOT VERIFIED" in run("edge", "inspect", file, "--key", stranger).out
    assert run("edge", "verify", file, "--key", stranger).code == 7
    assert (
        run("edge", "verify", file, "--key", shown["public_key"], "--json").json["verified_by"]
        == shown["key_id"]
    )
    wrong = run("edge", "export", "houses", "--target", "linux-x86-cp311")
    assert (wrong.code, "did you mean 'linux-x86_64-cp311'" in wrong.err) == (2, True)
    told_why = run("why", "houses@1").out
    assert f"{TARGET.name}, model-only, float32" in told_why[told_why.index("carried out") :]
    alone = run("edge", "simulate", file)
    assert (alone.code, "--base" in alone.err) == (2, True)
    assert run("edge", "targets", "--json").json[0]["target"] == "linux-x86_64-cp311"


def _wrong_golden(box: Box, full: Path, target: Target, folder: Path) -> Path:
    """The model of ``full`` alone, with golden answers that it does not give; signed as the box signs."""
    bundle = open_verified(full, box_keys(box))
    manifest = bundle.manifest
    files = {name: bundle.read(name) for name in manifest.files if name.startswith("model/")}
    golden = json.loads(files["model/golden.json"])
    golden["prediction"][0] += 1000.0
    files["model/golden.json"] = canonical_json(golden).encode()
    described = Description(
        kind="model-only", model=manifest.model, number=9, version_digest="9" * 64, task=manifest.task,
        snapshot_id=manifest.snapshot_id, target=target, precision="float32", epoch=0,
        limits=Limits(rss_bytes=256_000_000, log_bytes=1_000_000), keys=KeyChange({}, ()), onnx=manifest.onnx,
        layers={**manifest.layers, "model": layer_of(files, "model")},
    )  # fmt: skip
    file = folder / "wrong.mbx"
    file.write_bytes(pack(described, files, small_provenance(), KeyRing(box.home.keys).signers()))
    return file


def test_a_simulated_device_serves_the_good_version_and_refuses_the_one_that_answers_otherwise(
    box: Box, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    target, wheels = installed_target(tmp_path / "wheels")
    full = tmp_path / "full.mbx"
    report = export_bundle(
        box, "houses", ExportRequest(target), out=full, wheels=WheelCache(tmp_path / "wheels")
    )
    assert report.sizes["runtime"] > 0
    assert wheels.holds(target.wheels[0])
    with pytest.raises(UsageError, match="carries the model only"):
        simulate_bundle(_wrong_golden(box, full, target, tmp_path), trusted=box_keys(box))
    done = commander(box.home.root, capfd)(
        "edge", "simulate", str(tmp_path / "wrong.mbx"), "--base", str(full), "--json"
    )
    told = done.json
    # What the full bundle did on the device, before the wrong one came.
    assert told["confirmed"] == "houses@1", told
    assert told["requests"] == 1000
    assert 0 < told["p50_ms"] <= told["p99_ms"]
    assert told["server_rss_bytes"] > 0
    assert told["cold_start_s"] > 0
    # And the wrong one, which was refused in the self-test.
    assert (done.code, told["good"], told["rule"]) == (1, False, "golden")
    assert "golden row 0" in told["failed"]
    assert inspect_bundle(full, trusted=box_keys(box)).target == target.name
