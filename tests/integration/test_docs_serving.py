"""Every example of docs/serving.md runs against a real server and prints what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving_kit import Server, environment, register_fails, register_projects, register_rate, running

from mlops_box.box import Box

PAGE = Path(__file__).parents[2] / "docs/serving.md"
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
HTTP, GRPC = "127.0.0.1:8321", "127.0.0.1:8322"


def examples() -> list[tuple[str, str, str]]:
    """(language, code, what it prints) of every example; a ``text`` block belongs to the block before it."""
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    pairs = zip(blocks, [*blocks[1:], ("", "")], strict=True)
    return [
        (kind, code, output)
        for (kind, code), (next_kind, output) in pairs
        if kind != "text" and next_kind == "text"
    ]


EXAMPLES = examples()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Box.open(tmp_path_factory.mktemp("docs") / "home", actor="tester") as box:
        register_projects(box)
        register_rate(box)
        register_fails(box)
        with running(box.home.root) as server:
            yield server


def test_every_block_of_code_is_an_example_with_its_output() -> None:
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert len(EXAMPLES) == len([kind for kind, _ in blocks if kind != "text"]) == len(blocks) / 2
    for road in (
        "tritonclient.http",
        "tritonclient.grpc",
        "GRPCInferenceServiceStub",
        "pyarrow",
        "curl",
        "feedback",
    ):
        assert any(road in code for _, code, _ in EXAMPLES), road


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_prints_what_the_page_says(served: Server, number: int) -> None:
    kind, code, output = EXAMPLES[number]
    assert served.address.grpc_target is not None
    code = code.replace(HTTP, f"127.0.0.1:{served.address.port}").replace(GRPC, served.address.grpc_target)
    command = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}[kind]
    found = subprocess.run([*command, code], capture_output=True, text=True, timeout=60, env=environment())
    assert found.returncode == 0, found.stderr
    pattern = re.escape(output.strip()).replace("…", r"[^\s,]+?")
    assert re.fullmatch(pattern, found.stdout.strip()), found.stdout
