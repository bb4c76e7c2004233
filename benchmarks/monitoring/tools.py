"""What each tool does with one window and its reference; run by the tool's own Python, told as JSON on standard output.

python tools.py {whylogs|evidently|nannyml|mlops-box} window.parquet reference.parquet
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

os.environ.update(WHYLOGS_NO_ANALYTICS="1", DO_NOT_TRACK="1", NML_DISABLE_USAGE_LOGGING="1")
warnings.simplefilter("ignore")
# A time and a text of a million values are no columns that these two compare.
LEFT_OUT = ("at", "t1000000")


def whylogs(window: str, _: str) -> Callable[[], Any]:
    pd, why = import_module("pandas"), import_module("whylogs")
    frame = pd.read_parquet(window)
    return lambda: why.log(frame)


def evidently(window: str, reference: str) -> Callable[[], Any]:
    pd, report = import_module("pandas"), import_module("evidently").Report
    preset = import_module("evidently.presets").DataDriftPreset
    frames = [pd.read_parquet(path).drop(columns=list(LEFT_OUT)) for path in (window, reference)]
    return lambda: report([preset()]).run(*frames).dict()


def nannyml(window: str, reference: str) -> Callable[[], Any]:
    pd, nml = import_module("pandas"), import_module("nannyml")
    current, past = (pd.read_parquet(path).drop(columns=list(LEFT_OUT)) for path in (window, reference))
    texts = [name for name in past if name[0] in "tb"]
    current[texts], past[texts] = current[texts].astype(str), past[texts].astype(str)

    def compare() -> Any:
        calculator = nml.UnivariateDriftCalculator(
            column_names=list(past), treat_as_categorical=texts, chunk_size=len(current),
            continuous_methods=["jensen_shannon"], categorical_methods=["jensen_shannon"],
        )  # fmt: skip
        return calculator.fit(past).calculate(current).to_df()

    return compare


def mlops_box(window: str, reference: str) -> Callable[[], Any]:
    import pyarrow.parquet as pq

    from mlops_box.monitoring import DriftDetector
    from mlops_box.monitoring.count_tables import count_window
    from mlops_box.monitoring.profile import profile_table
    from mlops_box.monitoring.reference_tables import reference_of

    current, past = pq.read_table(window), pq.read_table(reference)
    profile_table(current.slice(0, 100))  # whylogs is imported

    def compare() -> Any:
        profile_table(current)
        known = reference_of(past)
        return DriftDetector(known).check_counts(count_window(known, current))

    return compare


TOOLS = {"whylogs": whylogs, "evidently": evidently, "nannyml": nannyml, "mlops-box": mlops_box}


def main(tool: str, window: str, reference: str) -> None:
    compare = TOOLS[tool](window, reference)
    started, used = time.perf_counter(), time.process_time()
    compare()
    found = {"cpu_s": time.process_time() - used, "wall_s": time.perf_counter() - started}
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
