"""Importing is not doing: no file, no variable, no handler, no thread; and the command line stays light."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_box.box import Box
from mlops_box.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "mlops_box": ".",
    "mlops_box_flows": "flows",
    "mlops_box_services": "services",
    "mlops_box_tui": "tui",
}
HEAVY = {"torch", "prefect", "bentoml", "whylogs", "sklearn"}
NEVER_FOR_HELP = HEAVY | {
    "duckdb",
    "textual",
    "numpy",
    "pandas",
    "pydantic",
    "psutil",
    "pyarrow",
    "onnxruntime",
}

# The framework that a face stands on. Prefect makes an empty ~/.prefect and log handlers when it is imported, which is
# its own doing; what is measured is what our modules add to that. The library stands on none.
FRAMEWORKS = {
    "mlops_box": [],
    "mlops_box_flows": ["prefect.main"],
    "mlops_box_services": ["bentoml", "grpc"],
    "mlops_box_tui": ["textual"],
}

PURITY = """
import importlib, json, logging, os, pathlib, socket, sys, threading
connections = []
socket.socket.connect = lambda self, address: connections.append(repr(address))

def handlers():
    named = [logging.getLogger(), *logging.root.manager.loggerDict.values()]
    return {(getattr(one, "name", ""), id(handler)) for one in named for handler in getattr(one, "handlers", [])}

def files():
    return {str(path) for path in pathlib.Path.home().rglob("*")}

for name in json.loads(sys.argv[2]):
    importlib.import_module(name)
before = dict(os.environ), handlers(), set(threading.enumerate()), files()
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
print(json.dumps({
    "variables": sorted(k for k in {*before[0], *os.environ} if before[0].get(k) != os.environ.get(k)),
    "handlers": sorted(name for name, _ in handlers() - before[1]),
    "threads": sorted(thread.name for thread in set(threading.enumerate()) - before[2]),
    "files": sorted(files() - before[3]),
    "connections": connections,
}))
"""


def modules(package: str) -> list[str]:
    folder = ROOT / FOLDERS[package]
    names = []
    for path in sorted((folder / package).rglob("*.py")):
        parts = list(path.relative_to(folder).with_suffix("").parts)
        if parts[-1] == "__main__":
            continue
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    paths = [str(ROOT / folder) for folder in FOLDERS.values()]
    return kept | {
        "HOME": str(tmp_path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(paths),
    }


def run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
    )


@pytest.mark.parametrize("package", FOLDERS)
def test_importing_every_module_leaves_no_trace(package: str, tmp_path: Path) -> None:
    found = run(tmp_path, "-c", PURITY, json.dumps(modules(package)), json.dumps(FRAMEWORKS[package]))
    assert found.returncode == 0, found.stderr[-3000:]
    trace = json.loads(found.stdout.splitlines()[-1])
    assert trace == {"variables": [], "handlers": [], "threads": [], "files": [], "connections": []}


def loaded(tmp_path: Path, *arguments: str) -> set[str]:
    script = (
        "import sys\nsys.argv = ['mlops-box', *sys.argv[1:]]\n"
        "from mlops_box.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "print('\\nLOADED', *sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    found = run(tmp_path, "-c", script, *arguments)
    assert found.returncode == 0, found.stderr[-3000:]
    return set(found.stdout.splitlines()[-1].split()[1:])


def test_the_inference_server_answers_without_duckdb(tmp_path: Path) -> None:
    script = (
        "import sys, mlops_box_services.runtime, mlops_box_services.front\n"
        "sys.exit(' '.join({'duckdb', 'sklearn', 'pandas', 'torch', 'prefect'} & set(sys.modules)))\n"
    )
    found = run(tmp_path, "-c", script)
    assert found.stderr.strip() == ""


# What only details and acts of the terminal need: the first picture and the lists behind the digits do without.
NEVER_FOR_A_LIST = HEAVY | {
    "duckdb", "numpy", "pandas", "pyarrow", "onnx", "onnxruntime", "scipy", "sqlite_utils", "plotext", "textual_plotext",
    "matplotlib", "cryptography", "apprise", "httpx", "jinja2",
}  # fmt: skip


def test_the_terminal_shows_its_first_picture_without_what_only_other_screens_need(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom mlops_box.box import Box\n"
        "from mlops_box_tui.app import BoxApp\nfrom mlops_box_tui.screenshot import settle\n"
        "async def main():\n"
        "    with Box.open(Path(sys.argv[1]), read_only=True) as box:\n"
        "        app = BoxApp(box)\n"
        "        async with app.run_test(size=(120, 36)) as pilot:\n"
        "            await settle(app, pilot)\n"
        "            assert app.main.view.pulse is not None\n"
        "            loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "            screens = {name for name in sys.modules if name.startswith('mlops_box_tui.screens.')}\n"
        "    print('LOADED', *loaded)\n    print('SCREENS', *screens)\n"
        "asyncio.run(main())\n"
    )
    home = tmp_path / "box"
    Box.open(home).close()
    found = run(tmp_path, "-c", script, str(home))
    assert found.returncode == 0, found.stderr[-3000:]
    told = {line.split()[0]: set(line.split()[1:]) for line in found.stdout.splitlines() if line}
    assert told["LOADED"] & (NEVER_FOR_A_LIST | {"pydantic"}) == set()
    assert told["SCREENS"] == {"mlops_box_tui.screens.main"}


def test_the_lists_of_the_terminal_load_nothing_that_only_details_and_acts_need(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom mlops_box_tui.registry import INNER_VIEWS, VIEWS\n"
        "assert [table[name].__name__ for table in (VIEWS, INNER_VIEWS) for name in table]\n"
        "print('LOADED', *sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    found = run(tmp_path, "-c", script)
    assert found.returncode == 0, found.stderr[-3000:]
    assert set(found.stdout.split()[1:]) & NEVER_FOR_A_LIST == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]], ids=lambda value: value[0])
def test_asking_for_help_loads_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    assert loaded(tmp_path, *arguments) & NEVER_FOR_HELP == set()


def test_no_command_loads_a_heavy_library_to_show_its_help(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom click.testing import CliRunner\nfrom mlops_box.cli.main import COMMANDS, command\n"
        "import click\n"
        "def walk(command, path):\n"
        "    result = CliRunner().invoke(root, [*path, '--help'])\n"
        "    assert result.exit_code == 0, (path, result.output)\n"
        "    new = {name.partition('.')[0] for name in sys.modules} & set(HEAVY)\n"
        "    assert not new, (path, new)\n"
        "    if isinstance(command, click.Group):\n"
        "        context = click.Context(command)\n"
        "        for name in command.list_commands(context):\n"
        "            walk(command.get_command(context, name), [*path, name])\n"
        f"HEAVY = {sorted(HEAVY)!r}\nroot = command\nwalk(root, [])\n"
    )
    found = run(tmp_path, "-c", script)
    assert found.returncode == 0, found.stderr[-3000:]
    assert list(tmp_path.rglob("*")) == []


def test_every_command_of_the_table_has_a_module() -> None:
    for name, (module, _) in COMMANDS.items():
        assert (ROOT / "mlops_box/cli" / f"{module}.py").exists(), name


@pytest.mark.parametrize(
    "package", ["mlops_box.operations.views", "mlops_box.project", "mlops_box.monitoring"]
)
def test_a_package_that_imports_on_first_use_has_every_name_that_it_offers(package: str) -> None:
    offered = importlib.import_module(package)
    assert [name for name in offered.__all__ if not hasattr(offered, name)] == []
    with pytest.raises(AttributeError, match="no attribute 'nothing_of_the_kind'"):
        _ = offered.nothing_of_the_kind
