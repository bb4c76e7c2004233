"""whylogs, tamed: no network, columns of every type, the same numbers as a plain count."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pytest

from mlops_box.errors import IntegrityError
from mlops_box.monitoring.profile import merge_profiles, profile_table, read_profile, summarize_profile

NO_NETWORK = """
import socket, sys
asked = []
def refuse(*arguments, **options):
    asked.append(arguments)
    raise OSError("no network here")
socket.getaddrinfo = refuse
socket.socket.connect = refuse
import numpy
import pyarrow as pa
from mlops_box.monitoring.profile import profile_table, summarize_profile
data = profile_table(pa.table({"a": [1.0, None], "b": ["x", "y"], "c": [True, False]}))
summarize_profile(data)
import atexit; atexit._run_exitfuncs()
assert not asked, asked
assert not hasattr(numpy, "unicode_"), "numpy itself was patched"
"""


def test_profiling_opens_no_socket_and_leaves_numpy_alone() -> None:
    done = subprocess.run([sys.executable, "-c", NO_NETWORK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_kind_of_column_is_counted() -> None:
    table = pa.table(
        {
            "double": pa.array([1.0, float("nan"), None, float("inf"), 3.0]),
            "single": pa.array([1, 2, 3, 4, None], pa.float32()),
            "whole": pa.array([5, 5, 6, None, 7]),
            "huge": pa.array([2**63 + 5, 1, 2, 3, None], pa.uint64()),
            "flag": pa.array([True, False, None, True, True]),
            "text": pa.array(["a", "b", "a", None, ""]),
            "coded": pa.array(["a", "b", "a", None, "c"]).dictionary_encode(),
            "day": pa.array([date(2026, 1, day) for day in range(1, 6)]),
            "at": pa.array([datetime(2026, 1, day) for day in range(1, 6)]),
            "list": pa.array([[1], [2], None, [], [3]]),
            "nothing": pa.nulls(5),
        }
    )
    found = summarize_profile(profile_table(table))
    assert set(found) == set(table.column_names)
    assert all(column["rows"] == 5 for column in found.values())
    assert (found["double"]["nulls"], found["double"]["nans"], found["double"]["infs"]) == (1, 1, 1)
    assert (found["double"]["min"], found["double"]["max"], found["double"]["mean"]) == (1.0, 3.0, 2.0)
    assert found["whole"]["distinct"] == 3
    assert found["whole"]["top"]["5"] == 2
    assert found["huge"]["max"] == pytest.approx(2.0**63)
    assert found["flag"]["mean"] == pytest.approx(0.75)
    assert found["text"]["top"]["a"] == 2
    assert found["coded"]["distinct"] == 3
    assert found["day"]["max"] > found["day"]["min"] > 1e15
    assert found["nothing"]["nulls"] == 5
    assert "mean" not in found["list"]


def test_merged_profiles_are_one_profile_of_all_rows() -> None:
    rng = np.random.default_rng(1)
    parts = [pa.table({"x": rng.normal(size=3000), "k": rng.integers(0, 9, 3000)}) for _ in range(4)]
    merged = summarize_profile(merge_profiles([profile_table(part) for part in parts]))
    whole = pa.concat_tables(parts)
    values = whole["x"].to_numpy()
    assert merged["x"]["rows"] == 12_000
    assert merged["x"]["mean"] == pytest.approx(values.mean())
    assert merged["x"]["std"] == pytest.approx(values.std(ddof=1))
    for share, value in merged["x"]["quantiles"].items():
        assert abs((values <= value).mean() - float(share)) < 0.01
    counts = np.bincount(whole["k"].to_numpy())
    assert merged["k"]["top"] == {str(place): int(count) for place, count in enumerate(counts)}


def test_an_empty_table_has_a_profile() -> None:
    found = summarize_profile(profile_table(pa.table({"x": pa.array([], pa.float64())})))
    assert found["x"]["rows"] == 0


def test_damaged_bytes_are_no_profile() -> None:
    data = profile_table(pa.table({"x": [1.0]}))
    assert read_profile(data) is not None
    with pytest.raises(IntegrityError):
        read_profile(data[:-5])
    with pytest.raises(IntegrityError):
        read_profile(b"nonsense")
    with pytest.raises(ValueError):
        merge_profiles([])
