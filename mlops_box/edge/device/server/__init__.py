"""Serves a slot's model over HTTP, remembers what it answered, and watches what it is asked.

The standard library, numpy, onnxruntime, and the box's own modules for checking, encoding and answering rows. Started by
the agent as ``python3 -m mlops_edge.server``, from the layers of its slot.
"""
