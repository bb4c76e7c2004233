"""A model that is declared for the GPU, on a real server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from serving_kit import RATE_PROJECT, Server, register_projects, register_rate, running

from mlops_box.box import Box
from mlops_box.models.devices import missing_for_cuda

FOR_GPU = RATE_PROJECT + '[serve]\ndevice = "cuda"\n'


def device_of(server: Server) -> Any:
    (model,) = server.call("GET", "/models")[2]["models"]
    return model["device"]


@pytest.mark.skipif(missing_for_cuda() is None, reason="this machine has a usable GPU")
def test_without_a_gpu_a_model_declared_for_it_answers_from_the_cpu_and_the_server_says_why(
    tmp_path: Path,
) -> None:
    with Box.open(tmp_path / "home", actor="tester") as box:
        register_projects(box)
        register_rate(box)
        with running(tmp_path / "home") as server:
            assert device_of(server)["wanted"] == "auto"
            register_projects(box, rates=FOR_GPU)
            deadline = time.monotonic() + 30
            while device_of(server)["wanted"] != "cuda" and time.monotonic() < deadline:
                time.sleep(0.05)
            lack = missing_for_cuda()
            assert device_of(server) == {"wanted": "cuda", "used": "cpu", "note": lack}
            assert server.call("GET", "/models/rates")[2]["device"]["note"] == lack
            assert server.call("GET", "/readyz")[0] == 200
            assert server.predict("rates", {"a": 1, "b": 2})[2]["predictions"] == [3.0]
    assert (
        f"is declared for the GPU and runs on the CPU: {lack}"
        in (tmp_path / "home/logs/server.log").read_text()
    )
