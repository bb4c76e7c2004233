"""The model of a slot: loaded, proven on its golden rows, and ready to answer. It never changes; a swap replaces it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_box.errors import IntegrityError
from mlops_box.models.golden import Golden, check_golden
from mlops_box.models.runtime import OnnxModel
from mlops_box.models.signature import Signature
from mlops_box.monitoring.reference import Reference
from mlops_box.serving.door import Door
from mlops_box.serving.log_view import LogView
from mlops_box.serving.memory import give_back
from mlops_box.serving.row_model import RowModel
from mlops_box.serving.truth import TruthReader

from .contract import Contract

if TYPE_CHECKING:
    from mlops_box.serving.protocols.interface import Interface


class Served:
    """Everything that one version needs to answer.

    Attributes:
        rows: Encodes, computes and reads.
        truths: Reads ground truth.
        log_view: What of its requests is logged.
        reference: What its data looked like in training.
    """

    def __init__(
        self,
        model: str,
        number: int,
        digest: str,
        loaded: OnnxModel,
        contract: Contract,
        reference: Reference,
    ) -> None:
        signature = loaded.signature
        self.model = model
        self.number = number
        self.digest = digest
        self.ref = f"{model}@{number}"
        self.signature = signature
        self.contract = contract
        self.reference = reference
        self.door = Door(signature, contract.rules)
        self.rows = RowModel(self.ref, loaded)
        self.truths = TruthReader(signature)
        self.log_view = LogView(
            signature, redact=contract.redact, share=contract.sample, time_column=contract.rules.time_column
        )

    @cached_property
    def interface(self) -> Interface:
        """The model as the Open Inference Protocol sees it; made when that is first spoken."""
        from mlops_box.serving.protocols.interface import Interface

        return Interface(self.signature)


def load(folder: Path, model: str, number: int, digest: str) -> Served:
    """Load ``folder/model`` and prove it on its golden rows, which also warms it up.

    Args:
        folder: The verified files of a bundle. Their signature vouches for them: the graph was inspected when the bundle
            was made.
        digest: Of the version.

    Raises:
        IntegrityError: A file is missing or cannot be read, or a golden row comes out wrong.
    """
    signature, golden = _signature(folder), Golden.from_json(_file(folder, "golden.json"))
    contract = Contract.from_bytes(_file(folder, "contract.json"))
    reference = Reference.from_bytes(_file(folder, "reference.json"))
    loaded = OnnxModel(folder / "model" / "packed.onnx", signature, inspect=False)
    problems = (
        check_golden(loaded, golden) if golden.rows else ["there are no golden rows to prove the model on"]
    )
    if problems:
        raise IntegrityError(
            f"{model}@{number} fails its golden rows: {problems[0]}", details={"problems": problems}
        )
    give_back()
    return Served(model, number, digest, loaded, contract, reference)


def _signature(folder: Path) -> Signature:
    try:
        return Signature.from_json(_file(folder, "signature.json").decode("utf-8"))
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"the signature cannot be read: {error!r}") from error


def _file(folder: Path, name: str) -> bytes:
    try:
        return (folder / "model" / name).read_bytes()
    except OSError as error:
        raise IntegrityError(f"model/{name} cannot be read: {error}") from error
