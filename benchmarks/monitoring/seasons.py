"""Bike rentals through the detector: how many windows alarm with and without calibration; the numbers of docs/drift.md.

    python -m benchmarks.monitoring.seasons HOUR_CSV

Prints a table. The second comparison of each length is of windows of one distribution: odd against even ones.
"""

from __future__ import annotations

import argparse
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from benchmarks.machine import table as markdown

_NUMBERS = ["hr", "holiday", "weekday", "workingday", "temp", "atemp", "hum", "windspeed"]
_TEXTS = ["season", "weathersit"]


def rentals(file: Path) -> pa.Table:
    raw = pa.csv.read_csv(file)
    days = np.array(raw["dteday"].to_pylist(), dtype="datetime64[s]")
    at = (days + raw["hr"].to_numpy().astype("timedelta64[h]")).astype("datetime64[us]")
    columns: dict[str, Any] = {name: raw[name] for name in _NUMBERS}
    columns |= {name: raw[name].cast(pa.string()) for name in _TEXTS}
    return pa.table(columns | {"at": pa.array(at)})


def drifted(detector: Any, live: pa.Table, width: timedelta) -> list[bool]:
    from mlops_box.monitoring.baseline import window_places

    places = window_places(live["at"], width)
    found = [detector.check(live.filter(pa.array(places == place))) for place in np.unique(places)]
    return [
        bool(finding.drifted or finding.joint_drift) for finding in found if finding.outcome != "cannot_tell"
    ]


def pages(flags: list[bool], page_at: int) -> int:
    """How often an alert would have paged: it ends with the first window without drift."""
    count, told = 0, False
    for place, flag in enumerate(flags):
        if flag and not told and sum(flags[max(0, place - 2) : place + 1]) >= page_at:
            count, told = count + 1, True
        told = told and flag
    return count


def compare(name: str, reference: pa.Table, live: pa.Table, days: int, min_rows: int) -> list[str]:
    from mlops_box.monitoring import DriftDetector
    from mlops_box.monitoring.budget import limits_for
    from mlops_box.units import parse_rate

    width = timedelta(days=days)
    limits = limits_for(parse_rate("1/month"), width)
    blind = DriftDetector(reference.drop_columns(["at"]), min_rows=min_rows)
    seeing = DriftDetector(reference, time="at", window=width, min_rows=min_rows, fdr=limits.fdr)
    without, calibrated = drifted(blind, live, width), drifted(seeing, live, width)
    return [
        f"{days} d", name, str(len(calibrated)), str(sum(without)), str(sum(calibrated)),
        str(pages(calibrated, limits.page_at)),
    ]  # fmt: skip


def main() -> None:
    from mlops_box.monitoring.baseline import window_places

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    both = rentals(parser.parse_args().file)
    year = both["at"].to_numpy() >= np.datetime64("2012-01-01")
    first, second = both.filter(pa.array(~year)), both.filter(pa.array(year))
    lines = []
    for days, min_rows in ((1, 20), (7, 100)):
        lines.append(compare("2012 against 2011", first, second, days, min_rows))
        odd = window_places(both["at"], timedelta(days=days)) % 2 == 1
        even_rows, odd_rows = both.filter(pa.array(~odd)), both.filter(pa.array(odd))
        lines.append(compare("odd against even", even_rows, odd_rows, days, min_rows))
    heads = [
        "window",
        "compared",
        "windows",
        "uncalibrated: drifted",
        "calibrated: drifted",
        "calibrated: pages",
    ]
    print(markdown(heads, lines))


if __name__ == "__main__":
    main()
