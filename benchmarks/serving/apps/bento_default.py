"""A BentoML service as its documentation would write it, served by ``bentoml serve``."""

import os

import bentoml
import numpy as np
import onnxruntime

names = [f"f{index}" for index in range(30)]


@bentoml.service(workers=1)
class Plain:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = os.environ["BENCH_MODEL"]
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    @bentoml.api
    def predict(self, rows: list[dict[str, float]]) -> list[float]:
        matrix = np.array([[row[name] for name in names] for row in rows], dtype=np.float32)
        return self.session.run(["prediction"], {"numeric": matrix})[0].tolist()
