"""The limit: bare ASGI, orjson, onnxruntime. No validation, no log, no metrics."""

import os

import numpy as np
import onnxruntime
import orjson

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = onnxruntime.InferenceSession(os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"])
names = [f"f{index}" for index in range(30)]


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    rows = orjson.loads(body)["rows"] if body else []
    matrix = np.array([[row[name] for name in names] for row in rows], dtype=np.float32).reshape(-1, 30)
    (values,) = session.run(["prediction"], {"numeric": matrix})
    data = orjson.dumps({"predictions": values.tolist()})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(data))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": data})
