"""What a stranger installs is what we tested: sdist -> wheel, every module, every data file."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "mlops_box": ".",
    "mlops_box_flows": "flows",
    "mlops_box_services": "services",
    "mlops_box_tui": "tui",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, and the wheel made from the unpacked sdist, as pip makes it."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
    found = subprocess.run([*build, str(ROOT)], capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-2000:]
    return folder


def ours() -> set[str]:
    found = set()
    for package, folder in PACKAGES.items():
        for path in (ROOT / folder / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
                found.add(path.relative_to(ROOT / folder).as_posix())
    return found


def test_the_wheel_has_four_names_and_every_file(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        entry_points = archive.read(
            next(n for n in archive.namelist() if n.endswith("entry_points.txt"))
        ).decode()
        about = archive.read(next(n for n in archive.namelist() if n.endswith("METADATA"))).decode()
    assert {name.partition("/")[0] for name in names} == set(PACKAGES)
    assert names == ours()
    assert any(name.endswith(".sql") for name in names)
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert "mlops-box = mlops_box.cli.main:main" in entry_points
    assert "License-Expression: Apache-2.0" in about
    assert "Provides-Extra: torch" in about


def test_the_sdist_carries_what_building_and_reading_need_and_no_test_data(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "ARCHITECTURE.md",
        "constraints.txt",
        "pyproject.toml",
    } <= names
    assert not [name for name in names if name.startswith((".venv", "tests", "dist", ".ci"))]


def test_the_installed_package_finds_its_schema_without_the_checkout(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path; import mlops_box; from mlops_box.box import Box\n"
        "assert mlops_box.__file__.startswith(sys.argv[1]), mlops_box.__file__\n"
        "box = Box.open(Path(sys.argv[2])); box.ledger.record('test.act', 'x'); print(box.ledger.head()[0])\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "site"), str(tmp_path / "home")],
        capture_output=True, text=True, cwd=tmp_path, timeout=60,
    )  # fmt: skip
    assert found.stdout.strip() == "1", found.stderr
