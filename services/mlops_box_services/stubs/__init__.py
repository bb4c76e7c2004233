"""The Open Inference Protocol in protobuf: its definition, and the Python that `just stubs` makes of it."""
