"""The model every server runs: 100 boosted trees of depth 3 on 30 floats, about 20 µs a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mlops_box.box import Box
from mlops_box.models.golden import Golden
from mlops_box.models.values import GOLDEN_FILE, PACKED_FILE, Feature, Signature, VersionDraft
from mlops_box.project import LoadedProject, parse_project

NAMES = [f"f{index}" for index in range(30)]
MODEL = "bench"


def build_onnx(seed: int) -> bytes:
    """The packed graph: ``numeric`` float32 [n, 30] to ``prediction`` float32 [n]."""
    from sklearn.ensemble import GradientBoostingRegressor

    x, y = _data(seed)
    return _packed(GradientBoostingRegressor(n_estimators=100, max_depth=3, random_state=seed).fit(x, y))


def _data(seed: int) -> tuple[Any, Any]:
    x = np.random.default_rng(seed).normal(size=(2000, 30)).astype(np.float32)
    return x, x[:, :5].sum(axis=1) + np.sin(x[:, 5] * 3)


def _packed(trained: Any) -> bytes:
    import onnx
    from onnx import TensorProto, helper
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    graph = to_onnx(trained, initial_types=[("numeric", FloatTensorType([None, 30]))], target_opset=18)
    (old,) = (output.name for output in graph.graph.output)
    axes = helper.make_tensor("squeeze_axes", TensorProto.INT64, [1], [1])
    graph.graph.initializer.append(axes)
    graph.graph.node.append(helper.make_node("Squeeze", [old, "squeeze_axes"], ["prediction"]))
    del graph.graph.output[:]
    graph.graph.output.append(helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["n"]))
    onnx.checker.check_model(graph)
    return bytes(graph.SerializeToString())


def build_forest(seed: int, folder: Path) -> bytes:
    """A 100-tree random forest: scikit-learn's own in ``folder/forest.joblib``; returns the packed graph."""
    import joblib
    from sklearn.ensemble import RandomForestRegressor

    x, y = _data(seed)
    trained = RandomForestRegressor(n_estimators=100, random_state=seed).fit(x, y)
    joblib.dump(trained, folder / "forest.joblib")
    return _packed(trained)


def make_row(seed: int) -> dict[str, float]:
    return {
        name: round(float(value), 4)
        for name, value in zip(NAMES, np.random.default_rng(seed).normal(size=30), strict=True)
    }


def fill_box(home: Path, packed: bytes, row: dict[str, float]) -> float:
    """Register the model as champion, with a contract for every column; returns its answer for ``row``."""
    import onnxruntime

    session = onnxruntime.InferenceSession(packed, providers=["CPUExecutionProvider"])
    matrix = np.array([list(row.values())], dtype=np.float32)
    expected = float(session.run(["prediction"], {"numeric": matrix})[0][0])
    rules = "\n".join(f'{name} = {{ type = "double", min = -100, max = 100 }}' for name in NAMES)
    project = parse_project(
        f'[project]\nname = "{MODEL}"\n[data]\nsource = "x.csv"\n[data.contract]\n{rules}\n'
        f'[model]\ntask = "regression"\ntarget = "y"\nfeatures = {NAMES}\n'
    )
    signature = Signature("regression", "y", tuple(Feature(name, "numeric", "double") for name in NAMES))
    with Box.open(home, actor="benchmark") as box:
        box.projects.register(LoadedProject(home, project))
        files = {
            PACKED_FILE: box.objects.put_bytes(packed, kind="model"),
            GOLDEN_FILE: box.objects.put_bytes(
                Golden((row,) * 16, prediction=(expected,) * 16).to_json().encode(), kind="golden"
            ),
        }
        draft = VersionDraft(MODEL, MODEL, "regression", True, signature, files, {}, (), "none", None)
        box.models.set_champion(box.models.register(draft), reason="benchmark")
    return expected
