"""What goes into a bundle: wheels that are exactly the pinned ones, int8 that pays, papers that tools accept."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import uuid
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_box.edge.bom import ml_bom
from mlops_box.edge.device.unpack import sync_tree
from mlops_box.edge.install_files import README, UNIT, install_files
from mlops_box.edge.quantise import Int8Report, judge_int8
from mlops_box.edge.slim import slim_wheel
from mlops_box.edge.targets import TARGETS, Target, Wheel, find_target
from mlops_box.edge.wheels import Fetch, WheelCache, check_machine, fetch_with_pip
from mlops_box.errors import IntegrityError, UnavailableError, UsageError
from mlops_box.models.encode import encode_rows
from mlops_box.models.golden import Golden
from mlops_box.models.runtime import OnnxModel
from mlops_box.models.signature import Feature, Signature
from mlops_box.models.values import ModelVersion
from mlops_box.progress import Progress, SilentProgress
from tests.edge_kit import FILES, described, small_bundle, trusting

X86, ARM = b"\x3e\x00", b"\xb7\x00"


def elf(machine: bytes) -> bytes:
    return b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00" + machine + bytes(44)


def wheel_of(members: dict[str, bytes]) -> bytes:
    """A wheel with a RECORD that names every member."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        record = "".join(f"{name},sha256=x,{len(data)}\n" for name, data in members.items())
        archive.writestr("thing-1.0.dist-info/RECORD", record + "thing-1.0.dist-info/RECORD,,\n")
    return out.getvalue()


def target_of(data: bytes) -> Target:
    wheel = Wheel("thing", "1.0", "thing-1.0-cp311-cp311-x.whl", hashlib.sha256(data).hexdigest(), len(data))
    return Target("linux-x86_64-cp311", "x86_64", "3.11", "2.28", (wheel,))


def bringing(data: bytes, asked: list[str]) -> Fetch:
    def fetch(target: Target, wheels: list[Wheel], into: Path, progress: Progress) -> None:
        asked.extend(wheel.file for wheel in wheels)
        for wheel in wheels:
            (into / wheel.file).write_bytes(data)

    return fetch


def test_a_target_is_named_by_what_a_device_says_of_itself() -> None:
    assert len({target.name for target in TARGETS}) == len(TARGETS) == 6
    assert find_target("linux-arm64-cp311").arch == "aarch64"
    for target in TARGETS:
        for wheel in target.wheels:
            assert target.abi in wheel.file
            assert wheel.file.removesuffix(".whl").rsplit(".", 1)[-1].rsplit("-", 1)[-1] in target.platforms
    with pytest.raises(UsageError, match="no target") as caught:
        find_target("linux-arm64-cp31")
    assert "linux-arm64-cp31" in str(caught.value.hint)


def test_a_wheel_is_fetched_once_and_again_only_when_it_is_damaged(tmp_path: Path) -> None:
    data, asked = wheel_of({"thing/a.so": elf(X86)}), list[str]()
    target = target_of(data)
    cache = WheelCache(tmp_path / "wheels", bringing(data, asked))
    assert not cache.holds(target.wheels[0])
    assert cache.wheels(target) == cache.wheels(target) == {target.wheels[0].file: data}
    assert asked == [target.wheels[0].file]
    (tmp_path / "wheels" / target.wheels[0].file).write_bytes(data[:-1] + b"x")
    assert cache.wheels(target)[target.wheels[0].file] == data
    assert len(asked) == 2


def test_what_is_not_the_pinned_wheel_is_not_kept(tmp_path: Path) -> None:
    good = wheel_of({"thing/a.so": elf(X86)})
    with pytest.raises(UnavailableError, match="no thing-1.0.* with the SHA-256 that is pinned"):
        WheelCache(tmp_path, bringing(good + b"x", [])).wheels(target_of(good))
    for data in (wheel_of({"thing/a.so": elf(X86), "thing/b.so.1": elf(ARM)}), wheel_of({"thing/a.py": b""})):
        with pytest.raises(IntegrityError, match="for aarch64, not for x86_64|holds no shared library"):
            WheelCache(tmp_path, bringing(data, [])).wheels(target_of(data))
    assert list(tmp_path.iterdir()) == []
    assert check_machine("thing", wheel_of({"a.so": elf(ARM)}), "aarch64") == 1


def test_without_a_network_one_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    target = find_target("linux-arm64-cp312")
    with pytest.raises(UnavailableError, match="numpy .* for linux-arm64-cp312 cannot be fetched") as caught:
        fetch_with_pip(target, list(target.wheels), tmp_path, SilentProgress())
    assert all(wheel.file in str(caught.value.hint) for wheel in target.wheels)


def test_a_slim_wheel_lacks_only_what_devices_never_run() -> None:
    members = {
        "onnxruntime/capi/state.so": elf(X86) * 50,
        "onnxruntime/capi/libonnxruntime.so.1.32.0": elf(X86) * 90,
        "onnxruntime/transformers/fusion.py": b"import torch\n",
        "onnxruntime/LICENSE": b"MIT",
        "onnxruntime/ThirdPartyNotices.txt": b"notices",
    }
    whole = wheel_of(members)
    name, slim = slim_wheel("onnxruntime-1.32.0-cp311-cp311-manylinux_2_28_x86_64.whl", whole)
    assert name == "onnxruntime-1.32.0-1slim-cp311-cp311-manylinux_2_28_x86_64.whl"
    with zipfile.ZipFile(io.BytesIO(slim)) as archive:
        assert archive.testzip() is None
        kept = set(archive.namelist())
        assert kept == {*members, "thing-1.0.dist-info/RECORD"} - {
            "onnxruntime/capi/libonnxruntime.so.1.32.0", "onnxruntime/transformers/fusion.py",
        }  # fmt: skip
        record = archive.read("thing-1.0.dist-info/RECORD").decode()
        assert {line.split(",")[0] for line in record.splitlines()} == kept
        assert archive.read("onnxruntime/capi/state.so") == members["onnxruntime/capi/state.so"]
    assert slim_wheel(name, whole)[1] == slim


@dataclass(frozen=True)
class Matrices:
    """A model of two matrix products, with its answers to 200 rows."""

    packed: bytes
    signature: Signature
    golden: Golden
    rows: np.ndarray[Any, Any]
    answers: np.ndarray[Any, Any]

    def held_out(self, noise: float) -> pa.Table:
        """The rows with a truth that is the model's answer, more or less."""
        truth = self.answers + np.random.default_rng(1).normal(size=len(self.answers)) * noise
        return pa.table({**{f"x{i}": self.rows[:, i] for i in range(4)}, "y": truth})

    def judge(
        self, *, noise: float = 0.5, metric: str = "mae", clock: tuple[float, float] = (2.0, 1.0)
    ) -> tuple[Int8Report, bytes]:
        held_out, timer = self.held_out(noise), ticking(*clock)
        return judge_int8(self.packed, self.signature, self.golden, held_out, metric=metric, timer=timer)


def matrices(width: int = 1024) -> Matrices:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    first = random.normal(size=(4, width)).astype(np.float32)
    second = random.normal(size=(width, 1)).astype(np.float32) / width
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["numeric", "first"], ["hidden"]),
            helper.make_node("Relu", ["hidden"], ["active"]),
            helper.make_node("MatMul", ["active", "second"], ["column"]),
            helper.make_node("Squeeze", ["column", "axis"], ["prediction"]),
        ],
        "matrices",
        [helper.make_tensor_value_info("numeric", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["n"])],
        [
            numpy_helper.from_array(first, "first"), numpy_helper.from_array(second, "second"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "axis"),
        ],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    packed = model.SerializeToString()
    signature = Signature("regression", "y", tuple(Feature(f"x{i}", "numeric", "double") for i in range(4)))
    matrix = random.normal(size=(200, 4))
    rows = tuple({f"x{i}": float(value) for i, value in enumerate(row)} for row in matrix)
    answers = OnnxModel(packed, signature).predict(encode_rows(rows, signature)).prediction
    assert answers is not None
    golden = Golden(rows[:20], prediction=tuple(float(value) for value in answers[:20]), atol=1e-4)
    return Matrices(packed, signature, golden, matrix, answers)


def ticking(float32_s: float, int8_s: float) -> Callable[[], float]:
    """A clock by which one model's calls take one time, and the other's another."""

    def times() -> Iterator[float]:
        now = 0.0
        while True:
            for duration in (float32_s, int8_s):
                yield now
                now += duration
                yield now

    return times().__next__


def test_what_is_installed_leaves_the_memory_once_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acts: list[tuple[str, str]] = []
    synced, given_up = os.fsync, os.posix_fadvise

    def name(descriptor: int) -> str:
        return Path(os.readlink(f"/proc/self/fd/{descriptor}")).name

    def fsync(descriptor: int) -> None:
        acts.append(("synced", name(descriptor)))
        synced(descriptor)

    def advise(descriptor: int, offset: int, length: int, advice: int) -> None:
        assert (offset, length, advice) == (0, 0, os.POSIX_FADV_DONTNEED)
        acts.append(("given up", name(descriptor)))
        given_up(descriptor, offset, length, advice)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "posix_fadvise", advise)
    (tmp_path / "layer/site").mkdir(parents=True)
    (tmp_path / "layer/site/library.so").write_bytes(elf(X86))
    (tmp_path / "layer/layer.json").write_bytes(b"{}")
    sync_tree(tmp_path / "layer")
    for file in ("library.so", "layer.json"):
        assert acts.index(("synced", file)) < acts.index(("given up", file))


def test_int8_is_used_where_it_is_smaller_faster_and_as_good() -> None:
    model = matrices()
    report, graph = model.judge()
    assert report.used, report.reason
    assert len(graph) < len(model.packed)
    assert "smaller and faster here" in report.reason
    assert graph == model.judge()[1]


@pytest.mark.parametrize(
    ("width", "noise", "clock", "metric", "why"),
    [
        (1024, 0.5, (1.0, 2.0), "mae", "not faster on this machine"),
        (1024, 0.0, (2.0, 1.0), "mae", "loses too much on the held-out rows: mae"),
        (1024, 0.5, (2.0, 1.0), "auc", "cannot tell auc"),
        (16, 0.5, (2.0, 1.0), "mae", "no smaller"),
    ],
)
def test_int8_is_not_used_otherwise_and_says_why(
    width: int, noise: float, clock: tuple[float, float], metric: str, why: str
) -> None:
    model = matrices(width)
    report, graph = model.judge(noise=noise, metric=metric, clock=clock)
    assert not report.used
    assert why in report.reason
    assert graph == model.packed


def test_int8_that_answers_its_golden_rows_otherwise_is_not_used() -> None:
    model = matrices()
    strict = replace(model, golden=replace(model.golden, atol=1e-9, rtol=0.0))
    report, _ = strict.judge()
    assert (report.used, "int8 answers otherwise: golden row" in report.reason) == (False, True)


def test_the_bill_of_materials_names_model_data_and_libraries() -> None:
    signature = Signature("regression", "y", (Feature("x", "numeric", "double"),))
    version = ModelVersion(
        model="pump", number=3, project="pumps", state="accepted", task="regression", digest="d" * 64, files={},
        signature=signature, metrics={}, gates=(), snapshot_id="5" * 64, run_id=None,
        created_at=datetime(2026, 1, 1, tzinfo=UTC), created_by="ada",
    )  # fmt: skip
    evaluation = {
        "rows_train": 80, "rows_test": 20, "metrics": {"mae": 1.5},
        "slices": [{"by": "town", "value": "a", "rows": 9, "metrics": {"mae": 2.0}}],
    }  # fmt: skip
    target = find_target("linux-arm64-cp311")
    data = ml_bom(version, evaluation, target.wheels, graph_sha256="9" * 64, precision="float32")
    assert data == ml_bom(version, evaluation, target.wheels, graph_sha256="9" * 64, precision="float32")
    bom = json.loads(data)
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    uuid.UUID(bom["serialNumber"].removeprefix("urn:uuid:"))
    model = bom["metadata"]["component"]
    assert (model["type"], model["name"], model["version"]) == ("machine-learning-model", "pump", "3")
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert {"type": "mae", "value": "2", "slice": "town = a"} in metrics
    purls = [item.get("purl") for item in bom["components"]]
    assert purls == [None, "pkg:pypi/numpy@2.4.6", "pkg:pypi/onnxruntime@1.32.0"]
    known = {model["bom-ref"], *(item["bom-ref"] for item in bom["components"])}
    assert {bom["dependencies"][0]["ref"], *bom["dependencies"][0]["dependsOn"]} == known


def test_the_readme_installs_in_five_commands_and_its_check_notices_an_altered_file(tmp_path: Path) -> None:
    private = bytes(range(32))
    texts = install_files(described(), key_id=next(iter(trusting(private))), file="pump-3.mbx")
    lines = texts[README].decode().splitlines()
    commands = [line[4:] for line in lines if re.match(r"^[1-9]   ", line)]
    assert len(commands) == 5
    assert "$" not in texts[README].decode()
    with zipfile.ZipFile(io.BytesIO(small_bundle([private]))) as archive:
        archive.extractall(tmp_path)
    check = next(command for command in commands if "hashlib" in command)

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", check], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )

    assert (run().returncode, run().stderr) == (0, "")
    (tmp_path / "runtime/mlops_edge/__init__.py").write_bytes(b"import os")
    assert (run().returncode, run().stderr.strip()) == (1, "altered: runtime/mlops_edge/__init__.py")
    assert set(FILES) >= {README}


def test_systemd_finds_no_fault_with_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    unit = install_files(described(), key_id="0" * 16, file="pump-3.mbx")[UNIT].decode()
    file = tmp_path / "mlops-edge.service"
    # What it starts lies on the device only.
    file.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit, flags=re.M))

    def analysed(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["systemd-analyze", *arguments, str(file)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    checked = analysed("verify")
    assert (checked.returncode, checked.stderr.strip()) == (0, "")
    exposure = analysed("security", "--offline=true", "--threshold=20")
    assert exposure.returncode == 0, exposure.stdout[-500:]
