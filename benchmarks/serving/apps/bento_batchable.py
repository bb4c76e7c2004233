"""BentoML's adaptive batching as its documentation would write it: a forest of scikit-learn, or the same one in ONNX."""

import os

import bentoml
import joblib
import numpy as np
import onnxruntime


@bentoml.service(workers=1)
class Sklearn:
    def __init__(self) -> None:
        self.forest = joblib.load(os.environ["BENCH_FOREST"])

    @bentoml.api(batchable=True, max_batch_size=1024)
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.forest.predict(rows)


@bentoml.service(workers=1)
class Onnx:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(
            os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"]
        )

    @bentoml.api(batchable=True, max_batch_size=1024)
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.session.run(["prediction"], {"numeric": rows.astype(np.float32)})[0]
