"""Carry a model version out of the box: one signed file for one kind of device."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import mlops_box
from mlops_box.box import Box
from mlops_box.canonical import sha256_hex
from mlops_box.edge.bom import ml_bom
from mlops_box.edge.bundle import Description, Kind, Limits, layer_of, pack
from mlops_box.edge.contract import device_contract
from mlops_box.edge.device.manifest import LAYERS, layer_digest
from mlops_box.edge.install_files import install_files
from mlops_box.edge.keys import KeyRing
from mlops_box.edge.quantise import Int8Report
from mlops_box.edge.runtime_files import device_files
from mlops_box.edge.signing import key_id, public_key
from mlops_box.edge.slim import slim_wheel
from mlops_box.edge.statement import Provenance
from mlops_box.edge.targets import NUMPY, ONNXRUNTIME, Target
from mlops_box.edge.wheels import WheelCache
from mlops_box.errors import GateError
from mlops_box.files import write_whole
from mlops_box.models.runtime import inspect_model
from mlops_box.models.values import (
    ENVIRONMENT_FILE,
    EVALUATION_FILE,
    GOLDEN_FILE,
    PACKED_FILE,
    PARITY_FILE,
    REFERENCE_FILE,
    SIGNATURE_FILE,
    ModelVersion,
)
from mlops_box.operations.edge.bundle import MODEL_FOLDER
from mlops_box.operations.edge.carried_out import EXPORT_ACT
from mlops_box.operations.edge.int8 import choose_precision
from mlops_box.progress import Progress, SilentProgress
from mlops_box.project import Project

CONTRACT_FILE = "contract.json"
BOM_FILE = "card.cdx.json"
_COPIED = (EVALUATION_FILE, GOLDEN_FILE, PACKED_FILE, PARITY_FILE, REFERENCE_FILE)


@dataclass(frozen=True)
class ExportRequest:
    """What is asked for.

    Attributes:
        model_only: Without runtime and wheels: for devices that have them already.
        int8: ``auto`` uses int8 where it pays and harms nothing.
        slim: Wheels without what a device never runs.
    """

    target: Target
    model_only: bool = False
    int8: Literal["auto", "off"] = "off"
    slim: bool = False

    @property
    def kind(self) -> Kind:
        return "model-only" if self.model_only else "full"

    def file_name(self, version: ModelVersion) -> str:
        """``pump-3-linux-arm64-cp311.mbx``; ``-model`` before the suffix for a model-only one."""
        return f"{version.model}-{version.number}-{self.target.name}{'-model' if self.model_only else ''}.mbx"


@dataclass(frozen=True)
class ExportReport:
    """A bundle that was written.

    Attributes:
        sizes: Bytes of each layer in it, of ``install`` and of the ``whole`` file.
        int8: Whether and why; ``None`` where nobody asked.
        notes: What a person should know.
    """

    path: Path
    version: str
    request: ExportRequest
    precision: str
    sizes: dict[str, int]
    sha256: str
    key_ids: tuple[str, ...]
    parity: dict[str, Any]
    int8: Int8Report | None
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "path": str(self.path), "version": self.version, "target": self.request.target.name,
            "kind": self.request.kind, "slim": self.request.slim, "precision": self.precision,
            "size_bytes": self.sizes["whole"], "sizes": self.sizes, "sha256": self.sha256,
            "key_ids": list(self.key_ids), "parity": self.parity,
            "int8": vars(self.int8) if self.int8 else None, "notes": list(self.notes),
        }  # fmt: skip


def export_bundle(
    box: Box,
    ref: str,
    request: ExportRequest,
    *,
    out: Path | None = None,
    wheels: WheelCache | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Write a signed bundle of an accepted version; the same version always gives the same bytes.

    Args:
        out: The file; ``None``: :meth:`ExportRequest.file_name` in this folder.
        wheels: Where wheels come from; the box's own cache when ``None``.

    Raises:
        GateError: The version was rejected by its gates.
        NotFoundError: No such version, or the box does not know its project any more.
        UnavailableError: A wheel is neither in the cache nor to be fetched.
        StorageError: The file cannot be written.
    """
    version = box.models.get(ref)
    if version.state != "accepted":
        raise GateError(
            f"{version.ref} was rejected by its gates and does not leave the box",
            hint=f"mlops-box why {version.ref}",
        )
    work = _Export(
        box, version, request, box.projects.get(version.project).declaration,
        wheels or WheelCache(box.home.wheels), progress or SilentProgress(),
    )  # fmt: skip
    return work.write(out or Path(request.file_name(version)))


@dataclass(frozen=True)
class _Export:
    """One export under way."""

    box: Box
    version: ModelVersion
    request: ExportRequest
    project: Project
    cache: WheelCache
    progress: Progress

    def write(self, out: Path) -> ExportReport:
        ring = KeyRing(self.box.home.keys)
        signers = ring.signers()
        ids = tuple(key_id(public_key(private)) for private in signers)
        model, int8 = self._model_files()
        runtime = {LAYERS["runtime"] + name: data for name, data in device_files().items()}
        carried, wheels_layer = self._wheels()
        described = self._describe(
            ring, model, {"runtime": layer_of(runtime, "runtime"), "wheels": wheels_layer}, int8
        )
        install: dict[str, bytes] = {}
        if not self.request.model_only:
            install = install_files(described, key_id=ids[0], file=self.request.file_name(self.version))
            install |= runtime | carried
        files = model | install
        data = pack(described, files, self._provenance(), signers)
        sizes = _sizes(files) | {"whole": len(data)}
        write_whole(out.absolute(), data)
        report = ExportReport(
            path=out, version=self.version.ref, request=self.request, precision=described.precision, sizes=sizes,
            sha256=sha256_hex(data), key_ids=ids, parity=json.loads(model[MODEL_FOLDER + PARITY_FILE]), int8=int8,
            notes=tuple(self._notes()),
        )  # fmt: skip
        self.box.ledger.record(EXPORT_ACT, f"version:{self.version.ref}", _facts(report))
        return report

    def _model_files(self) -> tuple[dict[str, bytes], Int8Report | None]:
        version, models = self.version, self.box.models
        files = {name: models.file(version, name) for name in _COPIED}
        int8: Int8Report | None = None
        if self.request.int8 == "auto":
            int8, files[PACKED_FILE], files[GOLDEN_FILE] = choose_precision(self.box, version, self.project)
        files[SIGNATURE_FILE] = version.signature.to_json().encode()
        files[CONTRACT_FILE] = device_contract(self.project, version.signature).to_bytes()
        files[BOM_FILE] = ml_bom(
            version, json.loads(files[EVALUATION_FILE]), self.request.target.wheels,
            graph_sha256=sha256_hex(files[PACKED_FILE]), precision=_precision(int8),
        )  # fmt: skip
        return {MODEL_FOLDER + name: data for name, data in files.items()}, int8

    def _wheels(self) -> tuple[dict[str, bytes], str]:
        """(bundle path to wheel, the layer's id). The id of the pinned wheels is known without having them."""
        folder, target = LAYERS["wheels"], self.request.target
        if self.request.model_only and not self.request.slim:
            return {}, layer_digest({folder + wheel.file: wheel.sha256 for wheel in target.wheels})
        found = self.cache.wheels(target, self.progress)
        if self.request.slim:
            found = dict(slim_wheel(name, data) for name, data in found.items())
        files = {folder + name: data for name, data in found.items()}
        layer = layer_of(files, "wheels")
        return ({} if self.request.model_only else files), layer

    def _describe(
        self, ring: KeyRing, model: dict[str, bytes], layers: dict[str, str], int8: Int8Report | None
    ) -> Description:
        version, edge, precision = self.version, self.project.edge, _precision(int8)
        graph = inspect_model(model[MODEL_FOLDER + PACKED_FILE])
        opsets = {item.domain or "ai.onnx": int(item.version) for item in graph.opset_import}
        features = [
            name for name, wanted in (("int8", precision == "int8"), ("slim", self.request.slim)) if wanted
        ]
        return Description(
            kind=self.request.kind, model=version.model, number=version.number, version_digest=version.digest,
            task=version.task, snapshot_id=version.snapshot_id, target=self.request.target, precision=precision,
            epoch=edge.epoch, limits=Limits(rss_bytes=edge.memory, log_bytes=edge.log_size), keys=ring.change(),
            onnx={
                "opset": opsets["ai.onnx"], "ir_version": int(graph.ir_version), "onnxruntime": ONNXRUNTIME,
                "numpy": NUMPY,
            },
            layers={**layers, "model": layer_of(model, "model")},
            features=tuple(features),
        )  # fmt: skip

    def _provenance(self) -> Provenance:
        version, git = self.version, self.version.lineage.get("git") or {}
        return Provenance(
            external={
                "model": version.model, "number": version.number, "target": self.request.target.name,
                "kind": self.request.kind,
            },
            internal={
                "run_id": version.run_id, "git_commit": git.get("commit"), "seed": version.lineage.get("seed"),
            },
            inputs={"snapshot": version.snapshot_id, ENVIRONMENT_FILE: version.files[ENVIRONMENT_FILE]},
            program=f"mlops-box@{mlops_box.__version__}",
        )  # fmt: skip

    def _notes(self) -> list[str]:
        from importlib.metadata import version

        notes = []
        if (here := version("onnxruntime")) != ONNXRUNTIME:
            notes.append(
                f"this box runs onnxruntime {here}, the device {ONNXRUNTIME}: its golden rows are tried on the device"
            )
        if self.version.number != self.box.models.aliases(self.version.model).get("champion"):
            notes.append(f"{self.version.ref} is not the champion")
        return notes


def _precision(int8: Int8Report | None) -> Literal["float32", "int8"]:
    return "int8" if int8 is not None and int8.used else "float32"


def _sizes(files: dict[str, bytes]) -> dict[str, int]:
    folders = {**LAYERS, "install": "install/"}
    return {
        name: sum(len(data) for path, data in files.items() if path.startswith(folder))
        for name, folder in folders.items()
    }


def _facts(report: ExportReport) -> dict[str, Any]:
    """What the ledger keeps: not where the file was written, which is nobody's business."""
    wanted = ("target", "kind", "precision", "size_bytes", "sha256", "key_ids")
    told = report.to_dict()
    return {name: told[name] for name in wanted}
