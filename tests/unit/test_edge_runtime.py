"""What a bundle carries: the runtime is whole by itself, and reads JSON as the box does without its reader."""

from __future__ import annotations

import ast
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlops_box.edge.runtime_files import SHARED, device_files
from mlops_box.json_bytes import standard_dumps, standard_loads

FILES = device_files()
SERVER_ONLY = {"numpy", "onnxruntime"}
NUMBERS = [b"1e999", b"-1E+400", b"1e308", b"9" * 400, b"0." + b"1" * 400, b"18446744073709551615", b"18446744073709551616",
           b"-9223372036854775808", b"-9223372036854775809", b"1" * 30, b"-0", b"01", b"1.", b".5", b"NaN", b"Infinity"]  # fmt: skip
BODIES = [b"", b"null", b'"\\ud800"', b'"\\ud83d\\ude00"', b"\xef\xbb\xbf1", b'"\xff"', b'"a\nb"', b"[1,]", b'{"a":1}x',
          b"\x0c1", b"\xc2\xa01", b"'a'", b'{"a":1,"a":2}', b'"\\x"', b'"\x7f\\u0000"', b"[" * 5000 + b"]" * 5000]  # fmt: skip


def imports(source: bytes, name: str) -> set[tuple[str, ...]]:
    """Modules that a file imports when it runs, as paths from ``mlops_edge`` or top-level names."""
    tree = ast.parse(source)
    package = ["mlops_edge", *Path(name).parts[:-1]]
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    found: set[tuple[str, ...]] = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = [*base, *(node.module.split(".") if node.module else [])]
            found |= {(*module, alias.name) for alias in node.names}
    return found


def is_here(path: tuple[str, ...]) -> bool:
    """Whether a dotted path (perhaps with a name in the module at its end) is a file of the runtime."""
    for parts in (path[1:], path[1:-1]):
        joined = "/".join(parts)
        if f"{joined}.py" in FILES or (f"{joined}/__init__.py" if joined else "__init__.py") in FILES:
            return True
    return False


@pytest.mark.parametrize("name", FILES)
def test_every_file_imports_the_standard_library_the_runtime_itself_or_what_is_in_the_wheels(
    name: str,
) -> None:
    allowed = SERVER_ONLY if name.startswith(("server/", "shared/")) else set()
    # Found where it is there; on a device it is not, and the standard library does.
    allowed = allowed | ({"orjson"} if name == "shared/json_bytes.py" else set())
    # Looked at when a bundle is made, in a function that no device calls.
    allowed = allowed | ({"onnx", "google"} if name == "shared/models/runtime.py" else set())
    allowed = allowed | ({"prometheus_client"} if name == "shared/serving/metrics_snapshot.py" else set())
    for path in imports(FILES[name], name):
        if path[0] == "mlops_edge":
            assert is_here(path), f"{name} imports {'.'.join(path)}, which is not in the runtime"
        else:
            assert path[0] in sys.stdlib_module_names | allowed, f"{name} imports {'.'.join(path)}"


def test_no_shared_module_travels_that_nothing_needs() -> None:
    needed: set[tuple[str, ...]] = set()
    for name, source in FILES.items():
        needed |= {path for path in imports(source, name) if path[0] == "mlops_edge"}
    for module in SHARED:
        path = ("mlops_edge", "shared", *module.split("."))
        assert any(one[: len(path)] == path for one in needed), (
            f"{module} is imported by no file of the runtime"
        )


def test_the_agent_is_written_for_python_3_8() -> None:
    for name, source in FILES.items():
        if not name.startswith("shared/"):
            ast.parse(source, name, feature_version=(3, 8))


def test_the_runtime_is_the_same_bytes_every_time_and_imports_nothing_by_the_box_s_name() -> None:
    assert device_files() == device_files()
    assert not any(
        b"mlops_box." in line
        for data in FILES.values()
        for line in data.split(b"\n")
        if b"import " in line and line.lstrip().startswith((b"from ", b"import "))
    )


def test_the_agent_runs_without_any_package(tmp_path: Path) -> None:
    for name, data in FILES.items():
        path = tmp_path / "mlops_edge" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    code = "import mlops_edge.log, mlops_edge.state, mlops_edge.__main__, sys; print(sorted({name.partition('.')[0] for name in sys.modules} & {'numpy', 'onnxruntime', 'orjson', 'mlops_box'}))"
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize("body", NUMBERS + BODIES)
def test_both_readers_of_json_read_the_same_or_refuse_both(body: bytes) -> None:
    agree(body)
    agree(b'{"a": [' + body + b", 1]}")


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(2**70), 2**70) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(_JSON, st.booleans())
@example({"a": "\ud800"}, True)
def test_whatever_python_writes_both_read_alike(value: Any, ascii_only: bool) -> None:
    agree(json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"))


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=12) | st.text(alphabet='[]{}",:0123456789.eE+-\\u tfn', max_size=12).map(str.encode)
)
def test_whatever_bytes_come_both_read_alike(body: bytes) -> None:
    agree(body)


@settings(max_examples=100, deadline=None)
@given(_JSON)
def test_both_writers_write_what_reads_alike(value: Any) -> None:
    try:
        wanted = orjson.dumps(value)
    except (TypeError, orjson.JSONEncodeError):
        return  # integers beyond 64 bits, half a surrogate pair
    assert orjson.loads(standard_dumps(value)) == orjson.loads(wanted)


def test_arrays_are_written_with_their_own_digits() -> None:
    values = {"x": np.float32([0.1, 1e-5, 3.4e38, np.nan]), "y": np.array([1, 2]), "z": (True, math.inf)}
    option = orjson.OPT_SERIALIZE_NUMPY
    assert orjson.loads(standard_dumps(values)) == orjson.loads(orjson.dumps(values, option=option))
    assert standard_dumps({1, 2}, default=str) == b'"{1, 2}"'
    with pytest.raises(TypeError, match="set cannot be written"):
        standard_dumps({"x": set()})


def agree(body: bytes) -> None:
    try:
        wanted: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        with pytest.raises(ValueError):
            standard_loads(body)
        return
    found = standard_loads(body)
    assert repr(found) == repr(wanted), body
