"""FastAPI with pydantic, as its tutorial would write it."""

import os

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = onnxruntime.InferenceSession(os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"])
names = [f"f{index}" for index in range(30)]
app = FastAPI()


class Rows(BaseModel):
    rows: list[dict[str, float]]


class Answer(BaseModel):
    predictions: list[float]


@app.post("/predict")
async def predict(body: Rows) -> Answer:
    matrix = np.array([[row[name] for name in names] for row in body.rows], dtype=np.float32)
    (values,) = session.run(["prediction"], {"numeric": matrix})
    return Answer(predictions=values.tolist())
