"""The rules of the house, read off the source itself."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("mlops_box", "flows/mlops_box_flows", "services/mlops_box_services", "tui/mlops_box_tui")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
SQLITE = {"sqlite3", "_sqlite3", "pysqlite3", "sqlite_utils", "apsw"}
PICKLES = {"pickle", "_pickle", "cPickle", "joblib", "cloudpickle", "dill", "shelve", "marshal"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imports(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0], node.lineno


def calls(path: Path) -> Iterator[ast.Call]:
    return (
        node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
    )


def tracked() -> list[Path]:
    found = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("not a git checkout")
    return [path for name in found.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_only_the_db_floor_imports_sqlite() -> None:
    inside = ROOT / "mlops_box/db"
    # A device has no box.db and nothing of the db floor: its log is a file of its own.
    device_log = ROOT / "mlops_box/edge/device/log.py"
    strangers = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in SOURCES
        if inside not in path.parents and path != device_log
        for name, line in imports(path)
        if name in SQLITE
    ]
    assert strangers == []


def test_nothing_imports_pickle_or_its_kin() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in SOURCES
        for name, line in imports(path)
        if name in PICKLES
    ]
    assert found == []


def test_no_command_goes_through_a_shell() -> None:
    for path in SOURCES:
        for call in calls(path):
            text = ast.unparse(call.func)
            assert text not in ("os.system", "os.popen", "eval", "exec", "subprocess.getoutput"), (
                f"{path}:{call.lineno}"
            )
            for keyword in call.keywords:
                shell = keyword.arg == "shell" and not (
                    isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                )
                assert not shell, f"{path}:{call.lineno}"


def test_the_floors_hold() -> None:
    found = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout[-3000:]


def test_no_tracked_file_knows_this_machine() -> None:
    # /home/bentoml is the home inside the container images that BentoML makes.
    homes = re.compile(
        rb"/home/(?!bentoml/)[a-z]+/|/Users/[a-z]+/|(?<![\w.])/(?:root|work)/|/opt/(?:pypi|wheels)"
    )
    found = []
    for path in tracked():
        data = path.read_bytes()
        if path == Path(__file__) or b"\0" in data[:1000]:
            continue
        found += [f"{path.relative_to(ROOT)}: {match.decode()}" for match in set(homes.findall(data))]
    assert found == []


def test_every_installed_distribution_is_pinned_by_the_constraints() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pinned = {normal(name): version for name, version in pins.items()}
    assert len(pinned) == len(pins)
    wrong = []
    for name in sorted(_closure("mlops-box", {"dev", "all", "torch"}) - {"mlops-box", "pip"}):
        version = metadata.version(name).partition("+")[0]
        if pinned.get(name) != version:
            wrong.append(f"{name}: installed {version}, pinned {pinned.get(name)}")
    assert wrong == []
    assert pinned["torch"] == "2.13.0"


def _closure(root: str, extras: set[str]) -> set[str]:
    """The distributions that ``root[extras]`` needs on this machine, by their metadata."""
    from packaging.requirements import Requirement

    found: set[tuple[str, str]] = set()
    todo = [(root, extra) for extra in ["", *extras]]
    while todo:
        name, extra = todo.pop()
        if (normal(name), extra) in found:
            continue
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            # A wheel of another flavour may do without: torch for CPUs needs no CUDA.
            continue
        found.add((normal(name), extra))
        for text in requires:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                todo += [(requirement.name, wanted) for wanted in ["", *requirement.extras]]
    return {name for name, _ in found}


def test_every_library_we_import_is_declared() -> None:
    """A library that is there only because another needs it disappears with that other's next release."""
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = project["dependencies"] + project["optional-dependencies"]["torch"]
    texts += project["optional-dependencies"]["otel"]
    declared = {normal(Requirement(text).name) for text in texts}
    providers = metadata.packages_distributions()
    ours = {Path(package).name for package in PACKAGES}
    missing = {}
    for path in SOURCES:
        for name, line in imports(path):
            if name in sys.stdlib_module_names or name in ours or name not in providers:
                continue
            if not {normal(one) for one in providers[name]} & declared:
                missing[name] = f"{path.relative_to(ROOT)}:{line}"
    assert missing == {}


def test_no_module_is_too_long_to_read() -> None:
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: lines for name, lines in long.items() if lines > 500} == {}


def test_nothing_is_left_to_do_later() -> None:
    words = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    found = [
        str(path.relative_to(ROOT)) for path in SOURCES if words.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_typed_packages_say_so() -> None:
    for package in PACKAGES:
        assert (ROOT / package / "py.typed").exists()
