"""Another process that works in the box: ``python -m benchmarks.tui.committer HOME`` begins and ends runs, a commit a second."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from mlops_box.box import Box


def main() -> None:
    run = None
    with Box.open(Path(sys.argv[1]), actor="scheduler") as box:
        print("committing", flush=True)
        while True:
            if run is None:
                run = box.runs.begin("score", "bike-north", trigger="schedule").id
            else:
                box.runs.end(run, "completed")
                run = None
            time.sleep(1)


if __name__ == "__main__":
    main()
