"""mlops-box: a local-first MLOps runtime for one machine.

The library knows no orchestrator, no web server and no screen. Start at :class:`mlops_box.box.Box`.
"""

__version__ = "0.1.0"
