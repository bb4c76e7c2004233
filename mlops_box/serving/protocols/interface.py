"""A model as the Open Inference Protocol sees it: one typed input a feature, and named outputs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mlops_box.data.arrays import plain_value
from mlops_box.errors import UsageError
from mlops_box.json_bytes import dumps
from mlops_box.models.encode import category_text
from mlops_box.models.signature import Signature
from mlops_box.serving.answers import Answers
from mlops_box.serving.columns import Columns
from mlops_box.serving.door import Door, Row
from mlops_box.serving.protocols.tensors import BOOL, BYTES, DTYPES, NUMERIC, Tensor, objects

PLATFORM = "onnxruntime_onnx"
_DATATYPES = {"double": "FP64", "bigint": "INT64", "boolean": BOOL, "varchar": BYTES}
_KEPT = 256
# Names that are no column are looked up for what was meant, which takes its time.
_MAX_STRANGERS = 64
# A column costs numpy some microseconds, whatever its length.
_FEW_ROWS = 8


@dataclass(frozen=True)
class TensorInfo:
    """What the metadata says of an input or output; -1 is any number of rows."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: Mapping[str, str] | None = None

    def to_dict(self) -> dict[str, Any]:
        told: dict[str, Any] = {"name": self.name, "datatype": self.datatype, "shape": self.shape}
        if self.parameters:
            told["parameters"] = self.parameters
        return told


class Interface:
    """Reads and writes the tensors of one signature.

    Attributes:
        all_numeric: No feature is a text or category, so that one matrix can hold a row.
        inputs: One a feature, [-1, 1], in the type of the data's contract. Any number type is accepted for a number.
        outputs: ``prediction`` FP32 [-1] for regression; ``label`` [-1] in the classes' type and ``probability`` FP32
            [-1, classes] otherwise; and ``id`` BYTES [-1], under which the predictions are logged.
    """

    def __init__(self, signature: Signature):
        self._features = {feature.name: feature.type for feature in signature.features}
        self.all_numeric = not signature.categorical
        self._has_boolean = "boolean" in self._features.values()
        self.inputs = tuple(
            TensorInfo(name, datatype_of(type_), (-1, 1)) for name, type_ in self._features.items()
        )
        self.outputs = _outputs(signature)
        self._output_of = {output.name: output for output in self.outputs}

    def read(self, tensors: Sequence[Tensor], door: Door) -> list[Row] | Columns:
        """The rows of a request, past the door: few as rows, which is cheaper, many as columns.

        One input a feature, [n] or [n, 1], and perhaps other columns that the door knows; or, where all features are
        numbers, one input [n, features] of any name.

        Raises:
            UsageError: Inputs are missing, of the wrong datatype or shape, or twice there; what :class:`Door` raises.
            ContractViolation: See :meth:`Door.check`.
        """
        if self._is_matrix(tensors):
            columns = self.from_matrix(tensors[0].values.reshape(tensors[0].shape))
            door.check_columns(columns)
            return columns
        values = self.columns(tensors)
        missing = [name for name in self._features if name not in values]
        if missing and len(values) == len(self._features) - len(missing):
            raise self.lacks(missing)
        rows = _few_rows(values, len(tensors[0].values))
        columns = Columns(len(tensors[0].values), values)
        if rows is not None:
            door.check(rows)
        else:
            door.check_columns(columns)
        if missing:
            raise self.lacks(missing)
        return columns if rows is None else rows

    def from_matrix(self, matrix: npt.NDArray[Any]) -> Columns:
        """The rows of numbers [rows, features], in the order of the signature."""
        if matrix.dtype.kind == "f" and (matrix.dtype.itemsize <= 4 or self._has_boolean):
            with np.errstate(over="ignore"):
                return Columns(len(matrix), {}, np.ascontiguousarray(matrix, dtype=np.float32))
        by_feature = np.ascontiguousarray(matrix.T)
        return Columns(len(matrix), dict(zip(self._features, by_feature, strict=True)))

    def write(self, answers: Answers, ids: Sequence[str], names: Sequence[str] | None) -> list[Tensor]:
        """The outputs of those names, in that order; all when ``names`` is ``None``.

        Raises:
            UsageError: There is no such output.
        """
        if names is None:
            return [_output(info, answers, ids) for info in self.outputs]
        self.check_outputs(names)
        return [_output(self._output_of[name], answers, ids) for name in names]

    def check_outputs(self, names: Sequence[str]) -> None:
        """Pass, or name the output that there is not: to be asked before anything is predicted.

        Raises:
            UsageError: There is no such output.
        """
        for name in names:
            if name not in self._output_of:
                raise UsageError(
                    f"the model has no output {name[:60]!r}", hint=f"it gives {', '.join(self._output_of)}"
                )

    def _is_matrix(self, tensors: Sequence[Tensor]) -> bool:
        """Whether this is the one input [n, features] that clients of scikit-learn servers send."""
        if len(tensors) != 1 or not self.all_numeric or tensors[0].datatype not in NUMERIC:
            return False
        tensor = tensors[0]
        if tensor.values.dtype == object or len(tensor.shape) != 2 or tensor.shape[1] != len(self._features):
            return False
        return len(self._features) > 1 or tensor.name not in self._features

    def columns(self, tensors: Sequence[Tensor]) -> dict[str, npt.NDArray[Any]]:
        """The tensors as columns [rows], not yet past a door.

        Raises:
            UsageError: There is none, one is there twice, or of the wrong datatype or shape.
        """
        if not tensors:
            raise UsageError("the request has no inputs", hint=f"send {self._wanted()}")
        if len(tensors) > len(self._features) + _MAX_STRANGERS:
            raise UsageError(f"the request has {len(tensors)} inputs", hint=f"send {self._wanted()}")
        values: dict[str, npt.NDArray[Any]] = {}
        for tensor in tensors:
            if tensor.name in values:
                raise UsageError(f"the request has two inputs {tensor.name[:60]!r}")
            values[tensor.name] = self._column(tensor)
            first = tensors[0]
            if tensor.shape[0] != first.shape[0]:
                raise UsageError(
                    f"the inputs differ in rows: {first.name[:60]!r} has {first.shape[0]}, {tensor.name[:60]!r} {tensor.shape[0]}",
                    hint="send one value a row in every input",
                )
        return values

    def _column(self, tensor: Tensor) -> npt.NDArray[Any]:
        if len(tensor.shape) > 2 or tensor.shape[1:] not in ((), (1,)):
            hint = "send [rows] or [rows, 1] for every feature"
            if self.all_numeric:
                hint += (
                    f", or one input [rows, {len(self._features)}] with {', '.join([*self._features][:30])}"
                )
            raise UsageError(f"input {tensor.name[:60]!r} has the shape {list(tensor.shape)}", hint=hint)
        wanted = self._features.get(tensor.name)
        if wanted is not None and not _holds(wanted, tensor.datatype):
            raise UsageError(
                f"input {tensor.name[:60]!r} is {tensor.datatype}, expected {datatype_of(wanted)}",
                hint="the model's metadata names the datatypes; a number may come in any number type",
            )
        return tensor.values.astype(np.float32) if tensor.datatype == "FP16" else tensor.values

    def lacks(self, missing: Sequence[str]) -> UsageError:
        """The error of a request without these inputs."""
        return UsageError(
            f"the request lacks the input {', '.join(map(repr, missing[:10]))}",
            hint="send every input; NaN, or null in JSON, stands for a missing value",
            details={"missing": list(missing)},
        )

    def _wanted(self) -> str:
        return ", ".join(f"{info.name} {info.datatype}" for info in self.inputs[:30])


class Version(Protocol):
    """A version, as far as its interface depends on it."""

    @property
    def digest(self) -> str: ...
    @property
    def signature(self) -> Signature: ...


class Interfaces:
    """The interfaces of versions in use, made once each."""

    def __init__(self) -> None:
        self._by_digest: OrderedDict[str, Interface] = OrderedDict()

    def of(self, version: Version) -> Interface:
        found = self._by_digest.get(version.digest)
        if found is None:
            found = self._by_digest[version.digest] = Interface(version.signature)
            if len(self._by_digest) > _KEPT:
                self._by_digest.popitem(last=False)
        return found


def datatype_of(type_: str) -> str:
    """The datatype in which a column of a contract's type goes."""
    return _DATATYPES.get(type_, BYTES)


def _few_rows(values: Mapping[str, npt.NDArray[Any]], rows: int) -> list[Row] | None:
    """The same as rows, where these are few; not float32, whose bounds are rounded as its values are."""
    if not 0 < rows <= _FEW_ROWS or any(column.dtype == np.float32 for column in values.values()):
        return None
    columns = [column.tolist() for column in values.values()]
    if rows == 1:
        return [{name: plain_value(column[0]) for name, column in zip(values, columns, strict=True)}]
    return [dict(zip(values, map(plain_value, row), strict=True)) for row in zip(*columns, strict=True)]


def _holds(type_: str, datatype: str) -> bool:
    """Whether a tensor's datatype may carry a column of that type; which numbers are good is the contract's matter."""
    if type_ == "boolean":
        return datatype == BOOL or DTYPES[datatype].kind in "iu"
    if type_ in ("double", "bigint"):
        return datatype in NUMERIC
    return datatype == BYTES


def _outputs(signature: Signature) -> tuple[TensorInfo, ...]:
    ids = TensorInfo("id", BYTES, (-1,))
    if signature.classes is None:
        return TensorInfo("prediction", "FP32", (-1,)), ids
    kinds = set(map(type, signature.classes))
    datatype = {bool: BOOL, int: "INT64"}.get(kinds.pop(), BYTES) if len(kinds) == 1 else BYTES
    parameters = {"classes": dumps(list(signature.classes)).decode()}
    shape = (-1, len(signature.classes))
    return (
        TensorInfo("label", datatype, (-1,)),
        TensorInfo("probability", "FP32", shape, parameters),
        ids,
    )


def _output(info: TensorInfo, answers: Answers, ids: Sequence[str]) -> Tensor:
    values: npt.NDArray[Any]
    if info.name == "probability":
        values = np.array(answers.probabilities, dtype="<f4")
        return Tensor(info.name, info.datatype, values.shape, values.reshape(-1), info.parameters)
    if info.name == "id":
        values = objects(ids[:])
    elif info.datatype == BYTES:
        values = objects([category_text(label) for label in answers.predictions])
    else:
        values = np.array(answers.predictions, dtype=DTYPES[info.datatype])
    return Tensor(info.name, info.datatype, values.shape, values, info.parameters)
