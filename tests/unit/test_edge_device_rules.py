"""What runs on a device keeps to the device: Python 3.8, the standard library, and one byte form of JSON with the box."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_box.canonical import canonical_json as canonical_json_of_the_box
from mlops_box.edge.device.__main__ import COMMANDS, main
from mlops_box.edge.device.health import Observation, Patience, judge
from mlops_box.edge.device.probe import Counts
from mlops_box.edge.device.strict_json import canonical_json
from tests.edge_case import KEY, OTHER_PUBLIC, PUBLIC, make_place
from tests.edge_kit import other_pythons

DEVICE = Path(__file__).parents[2] / "mlops_box/edge/device"
SOURCES = sorted(DEVICE.rglob("*.py"))
# The agent proper needs nothing that a bundle brings; only the server, its log and its sync do.
AGENT = [path for path in SOURCES if path.parent in (DEVICE, DEVICE / "commands")]


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(DEVICE)))
def test_every_file_is_python_3_8(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))


def test_the_agent_runs_on_the_oldest_and_the_newest_python_at_hand(tmp_path: Path) -> None:
    """What the syntax does not tell: names and aliases that an older standard library lacks."""
    pythons = other_pythons()
    if not pythons:
        pytest.skip("no other Python at hand")
    shutil.copytree(DEVICE, tmp_path / "mlops_edge", ignore=shutil.ignore_patterns("__pycache__"))
    modules = [".".join(path.relative_to(DEVICE).with_suffix("").parts) for path in AGENT]
    code = f"import importlib; [importlib.import_module('mlops_edge.' + name) for name in {modules!r}]"
    for minor in {min(pythons), max(pythons)}:
        done = subprocess.run(
            [pythons[minor], "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"Python 3.{minor}: {done.stderr[-1000:]}"


def test_the_agent_needs_only_the_standard_library() -> None:
    known = set(sys.stdlib_module_names)
    strangers = {
        f"{path.name}: {name}"
        for path in AGENT
        for name in imported(path)
        if name.partition(".")[0] not in known
    }
    assert strangers == set()


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_canonical_json_is_the_box_s(value: object) -> None:
    assert canonical_json(value) == canonical_json_of_the_box(value).encode()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert COMMANDS[command] in " ".join(capsys.readouterr().out.split())


def test_init_makes_a_device_once_and_its_agent_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "device"
    words = ["init", "--root", str(root), "--trust", PUBLIC.hex(), "--name", "pump-7", "--json"]
    assert (main(words), main(words)) == (0, 0)
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert (root / "device.key").stat().st_mode & 0o777 == 0o600
    assert (root / "agent/mlops_edge/supervise.py").exists()
    assert main(["status", "--root", str(root)]) == 0
    assert "pump-7" in capsys.readouterr().out


def test_what_is_no_device_is_refused_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--root", str(tmp_path)]) == 2
    assert "mlops-edge init" in capsys.readouterr().err


def test_the_last_key_stays_and_a_revoked_one_never_comes_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = make_place(tmp_path / "device")
    keys = ["keys", "--root", str(place.root)]
    assert main([*keys, "--revoke", "0" * 16]) == 0
    assert main([*keys, "--revoke", KEY]) == 2
    assert main([*keys, "--trust", OTHER_PUBLIC.hex(), "--revoke", KEY]) == 0
    assert main([*keys, "--trust", PUBLIC.hex()]) == 2
    assert "was revoked" in capsys.readouterr().err


USUAL = Patience(ready_s=30, steady_s=10, probation_s=60)


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (Observation([], 5, None, 0, Counts()), "hold"),
        (Observation([], 31, None, 0, Counts()), "failed"),
        (Observation(None, 90, 80, 0, Counts(500)), "hold"),
        (Observation([], 20, 9, 0, Counts(500)), "hold"),
        (Observation([], 20, 11, 0, Counts(199)), "hold"),
        (Observation([], 20, 11, 0, Counts(200)), "good"),
        (Observation([], 70, 61, 0, Counts()), "good"),
        (Observation([], 70, 61, 101, Counts()), "failed"),
        (Observation(["row 1"], 70, 61, 0, Counts(500)), "bad"),
        (Observation([], 1, 1, 0, Counts(0, 19)), "hold"),
        (Observation([], 1, 1, 0, Counts(0, 20)), "bad"),
        (Observation([], 20, 11, 0, Counts(190, 10)), "good"),
        (Observation([], 20, 11, 0, Counts(189, 11)), "bad"),
    ],
)  # fmt: skip
def test_a_trial_is_judged_by_proof_only(seen: Observation, verdict: str) -> None:
    assert judge(seen, 100, USUAL).what == verdict
