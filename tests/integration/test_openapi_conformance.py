"""schemathesis against the live server, tokens on: what the OpenAPI document says is what happens, and no 5xx."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from serving_kit import register_fails, register_projects, register_rate, running

from mlops_box.box import Box
from mlops_box.operations.tokens import create_token
from mlops_box.serving.bearer import SCOPES

# A body may fit the schema and yet break a model's contract, which no document of all models can say.
CHECKS = ["--checks", "all", "--exclude-checks", "positive_data_acceptance"]
EXTENT = ["--phases", "examples,coverage,fuzzing", "--max-examples", "12", "--continue-on-failure"]
REPEATABLE = ["--seed", "1", "--generation-database", "none", "--no-color"]


def test_every_operation_does_what_the_document_says_and_asks_for_its_token(tmp_path: Path) -> None:
    with Box.open(tmp_path / "home", actor="tester") as box:
        register_projects(box)
        register_rate(box, 1.0, 1.0)
        register_fails(box)
        token = create_token(box, "all", SCOPES).text
        # The secret goes by the environment: a file names the variable.
        config = tmp_path / "schemathesis.toml"
        config.write_text('headers = { Authorization = "Bearer ${TOKEN}" }\n')
        with running(box.home.root, "--require-token", "--no-grpc") as server:
            command = [Path(sys.executable).parent / "schemathesis", "--config-file", config, "run"]
            command += [f"{server.address.url}/docs.json", *CHECKS, *EXTENT, *REPEATABLE]
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=300,
                cwd=tmp_path,
                env={**os.environ, "TOKEN": token},
            )
            told = done.stdout[-6000:] + done.stderr[-2000:]
            assert done.returncode == 0, told
            assert int(re.findall(r"(\d+) passed", done.stdout)[-1]) > 300, told
            assert server.predict("rates", {"a": 1, "b": 2})[0] == 401
        log = (box.home.root / "logs" / "server.log").read_text()
    assert "Traceback" not in log
    assert token not in log
