"""A version as a folder of plain files: the model leaves the box for any ONNX runtime, and for MLflow's readers."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_box.box import Box
from mlops_box.clock import isoformat
from mlops_box.errors import StorageError, UsageError
from mlops_box.models.values import (
    CARD_FILE,
    ENVIRONMENT_FILE,
    EVALUATION_FILE,
    GOLDEN_FILE,
    MODEL_FILE,
    PACKED_FILE,
    PARITY_FILE,
    SIGNATURE_FILE,
    ModelVersion,
)

_FILES = (
    MODEL_FILE,
    PACKED_FILE,
    SIGNATURE_FILE,
    GOLDEN_FILE,
    PARITY_FILE,
    EVALUATION_FILE,
    ENVIRONMENT_FILE,
    CARD_FILE,
)
_MLFLOW_TYPES = {"numeric": "float", "categorical": "string"}

_README = """\
# {ref}

{description}A {task} model that predicts `{target}`, exported by mlops-box. `{model}` has one input per feature, shaped [n, 1]:
numbers as float32 (missing: NaN), categories as text (missing: ""). Its outputs are {outputs}. Preprocessing is inside.

```python
import json

import numpy as np
import onnxruntime

signature = json.load(open("{signature}"))
rows = json.load(open("{golden}"))["rows"]
session = onnxruntime.InferenceSession("{model}", providers=["CPUExecutionProvider"])


def text(value):
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


feed = {{}}
for feature in signature["features"]:
    values = [row.get(feature["name"]) for row in rows]
    if feature["kind"] == "numeric":
        column = np.array([np.nan if value is None else float(value) for value in values], dtype=np.float32)
    else:
        column = np.array([text(value) for value in values], dtype=object)
    feed[feature["name"]] = column.reshape(-1, 1)
answers = dict(zip([output.name for output in session.get_outputs()], session.run(None, feed)))
print(answers)
```

`{golden}` holds rows with the answers that the trained model gave; `{card}` tells how it was made and judged.
"""


@dataclass(frozen=True)
class ExportOutcome:
    """Where the files lie now."""

    version: ModelVersion
    folder: Path
    files: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"version": self.version.ref, "folder": str(self.folder), "files": list(self.files)}


def export_model(box: Box, ref: str, *, folder: Path) -> ExportOutcome:
    """Write a version's files into a new folder; whole, or not at all.

    Raises:
        NotFoundError: There is no such version.
        UsageError: The folder exists already, or its parent does not.
        StorageError: It cannot be written.
        IntegrityError: A stored file is damaged.
    """
    version = box.models.get(ref)
    files = {name: box.models.file(version, name) for name in _FILES if name in version.files}
    files["MLmodel"] = _mlmodel(version).encode()
    files["README.md"] = _readme(version).encode()
    folder = folder.absolute()
    if folder.exists():
        raise UsageError(f"{folder} exists already", hint="name a folder that does not")
    temporary = folder.parent / f".{folder.name}.{secrets.token_hex(4)}"
    try:
        temporary.mkdir()
        try:
            for name, data in files.items():
                (temporary / name).write_bytes(data)
            os.rename(temporary, folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be written: {error.strerror or error}",
            hint="name a folder that you may write to",
        ) from error
    box.ledger.record(
        "model.export", f"version:{version.ref}", {"files": sorted(files), "digest": version.digest}
    )
    return ExportOutcome(version, folder, tuple(sorted(files)))


def _mlmodel(version: ModelVersion) -> str:
    """MLflow's description of a model; JSON is YAML, so no YAML writer is needed."""
    inputs = [
        {"name": feature.name, "type": _MLFLOW_TYPES[feature.kind], "required": False}
        for feature in version.signature.features
    ]
    regression = version.signature.task == "regression"
    outputs = (
        [{"name": "prediction", "type": "float"}]
        if regression
        else [{"name": "label", "type": "long"}, {"name": "probability", "type": "float"}]
    )
    described = {
        "artifact_path": "model",
        "flavors": {
            "onnx": {"data": MODEL_FILE, "providers": ["CPUExecutionProvider"], "code": None},
            "python_function": {"loader_module": "mlflow.onnx", "data": MODEL_FILE},
        },
        "utc_time_created": isoformat(version.created_at).replace("T", " ").removesuffix("Z"),
        "signature": {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs), "params": None},
        "metadata": {"mlops_box": version.ref, "digest": version.digest},
    }
    return json.dumps(described, indent=2) + "\n"


def _readme(version: ModelVersion) -> str:
    description = str(version.lineage.get("description") or "").strip()
    outputs = (
        "`prediction` [n]"
        if version.signature.task == "regression"
        else "`label` [n], an index into the signature's classes, and `probability` [n, classes]"
    )
    return _README.format(
        ref=version.ref,
        description=f"{description.rstrip('.')}. " if description else "",
        task=version.task,
        target=version.signature.target,
        outputs=outputs,
        model=MODEL_FILE,
        signature=SIGNATURE_FILE,
        golden=GOLDEN_FILE,
        card=CARD_FILE,
    )
