"""``python3 -m mlops_edge.server``: started by the agent for a slot, ends on SIGTERM."""

from __future__ import annotations

import gc
import sys


def main() -> int:
    """Serve; see :func:`mlops_edge.server.run.main`."""
    # What is imported stays: to look through it again and again is a tenth of the start.
    gc.disable()
    from .run import main as run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
