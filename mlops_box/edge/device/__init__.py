"""The agent of a field device: Python 3.8 and its standard library only, until the model runs.

It imports nothing outside itself, so that it can travel in a bundle as ``runtime/mlops_edge`` and run as
``python3 -m mlops_edge``. The box imports the same modules: one implementation of the format and of its verification.
"""

AGENT_VERSION = 1
"""Raised when a bundle may need something that an older agent cannot do (``min_agent`` in the manifest)."""
