"""What a version carries for being watched: its rows by window, a few of them whole, and how to estimate its quality."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlops_box.models.values import BASELINE_FILE, ESTIMATE_FILE, ROWS_FILE

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_box.models.encode import Tensors
    from mlops_box.models.runtime import Output
    from mlops_box.models.values import Signature
    from mlops_box.monitoring.estimate import Estimator
    from mlops_box.monitoring.reference import Reference
    from mlops_box.operations.train_files import Found

_MOST_PREDICTED = (
    200_000  # rows learnt from that are answered again, where held-out rows make too few windows
)


def watch_files(found: Found, reference: Reference) -> dict[str, bytes]:
    """Files by name; a project without event times has no earlier windows, and stays uncalibrated."""
    import pyarrow as pa

    from mlops_box.monitoring.joint import JointDetector
    from mlops_box.monitoring.reservoir import draw_reference, rows_to_bytes

    declared = found.project.declaration
    names = [feature.name for feature in found.trained.signature.features]
    rows = pa.concat_tables([found.train, found.answers.table])
    time, width = declared.data.time, declared.monitor.window
    times = rows.column(time) if time is not None else None
    kept = draw_reference(rows.select(names), times=times, width=width, seed=declared.model.seed)
    files = {ROWS_FILE: rows_to_bytes(JointDetector(reference, kept, seed=0).learnt())}
    if time is not None:
        files[BASELINE_FILE] = _baseline(found, reference, rows, time)
    estimator = _estimator(found)
    if estimator is not None:
        files[ESTIMATE_FILE] = estimator.to_json().encode()
    return files


def loss_inputs(tensors: Tensors, prediction: Any, signature: Signature) -> Any:
    """[rows, features and the prediction], float32: categories by their place among the known values, missing is NaN."""
    import numpy as np

    columns: list[Any] = []
    if tensors.numeric is not None:
        columns.append(tensors.numeric)
    categorical = [feature for feature in signature.features if feature.kind == "categorical"]
    if tensors.text is not None:
        for index, feature in enumerate(categorical):
            known = {value: place for place, value in enumerate(feature.values or ())} | {"": np.nan}
            columns.append(
                np.array([known.get(value, -1) for value in tensors.text[:, index]], dtype=np.float32)
            )
    return np.column_stack([*columns, np.asarray(prediction, dtype=np.float32)]).astype(np.float32)


def _estimator(found: Found) -> Estimator | None:
    """Learnt on the held-out rows, which the model did not learn from."""
    import numpy as np

    from mlops_box.evaluation.evaluate import leading_metric
    from mlops_box.evaluation.metrics import class_index
    from mlops_box.monitoring.estimate import fit_classifier, fit_regression

    declared, signature, answers = found.project.declaration, found.trained.signature, found.answers
    output = answers.output
    if signature.classes is None:
        prediction = np.asarray(output.prediction, dtype=np.float64)
        there = np.isfinite(prediction)
        inputs = loss_inputs(answers.tensors, prediction, signature)[there]
        error = prediction[there] - answers.truth[there]
        metric = leading_metric(declared.gates, declared.model.task)
        return fit_regression(inputs=inputs, error=error, metric=metric, seed=declared.model.seed)
    assert output.probability is not None
    assert output.label is not None
    return fit_classifier(
        signature.task,
        probability=np.asarray(output.probability, dtype=np.float64),
        label=output.label,
        truth=class_index(answers.truth, signature.classes),
        held_out=found.evaluation.metrics,
    )


def _baseline(found: Found, reference: Reference, rows: pa.Table, time: str) -> bytes:
    """Features by all rows there were; predictions by held-out rows, or by all where those make too few windows."""
    import numpy as np

    from mlops_box.monitoring.baseline import MIN_ROWS, cut_baseline, window_places
    from mlops_box.monitoring.season import MIN_WINDOWS

    monitor, signature = found.project.declaration.monitor, found.trained.signature
    least = max(MIN_ROWS, monitor.min_rows // 2)
    answered = _predictions(found.answers.table, found.answers.output, signature, time)
    _, counts = np.unique(window_places(answered.column(time), monitor.window), return_counts=True)
    if int((counts >= least).sum()) < MIN_WINDOWS:
        answered = _answer_again(found, rows, time)
    columns = list(dict.fromkeys([*(feature.name for feature in signature.features), time]))
    parts = [(rows.select(columns), time), (answered, time)]
    return cut_baseline(reference, parts, monitor.window, min_rows=least).to_bytes()


def _answer_again(found: Found, rows: pa.Table, time: str) -> pa.Table:
    import pyarrow as pa

    from mlops_box.models.encode_tables import encode_table
    from mlops_box.models.runtime import OnnxModel

    signature = found.trained.signature
    step = -(-rows.num_rows // _MOST_PREDICTED)
    if step > 1:
        rows = rows.take(pa.array(range(0, rows.num_rows, step)))
    model = OnnxModel(found.trained.packed_onnx, signature, threads=2)
    return _predictions(rows, model.predict(encode_table(rows, signature)), signature, time)


def _predictions(rows: pa.Table, output: Output, signature: Signature, time: str) -> pa.Table:
    """The answers as monitoring compares them, beside the event times."""
    import numpy as np
    import pyarrow as pa

    from mlops_box.monitoring.columns import as_text
    from mlops_box.monitoring.reference import PREDICTION

    if output.prediction is not None:
        answers = pa.array(np.asarray(output.prediction, dtype=np.float64))
    elif signature.task == "multiclass":
        assert output.label is not None
        names = np.array([as_text(value) for value in signature.classes or ()], dtype=object)
        answers = pa.array(names[output.label].tolist(), pa.string())
    else:
        assert output.probability is not None
        answers = pa.array(np.asarray(output.probability[:, 1], dtype=np.float64))
    return pa.table({PREDICTION: answers, time: rows.column(time)})
