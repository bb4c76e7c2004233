"""A server whose disk is full: what the declaration says happens, everybody is told, and it ends with the cause."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from disk_case import on_a_disk_of

KIT = Path(__file__).parents[1] / "integration"
SERVE = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from serving_kit import RATE_PROJECT, register_projects, register_rate, running
from mlops_box.box import Box

def wait_for(status):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = server.call("GET", "/readyz")
        if found[0] == status:
            break
        time.sleep(0.05)
    return found

def metric(name):
    page = server.call("GET", "/metrics")[2]
    return [float(line.split()[-1]) for line in page.splitlines() if line.startswith(name + " ")][0]

told = {}
folder = Path(sys.argv[1])
with Box.open(folder / "home", actor="tester") as box:
    register_projects(box, rates=RATE_PROJECT + '[serve]\\nlog = "' + sys.argv[3] + '"\\n')
    register_rate(box)
    with running(box.home.root) as server:
        before = server.predict("rates", {"a": 1.0, "b": 2.0})[2]["ids"]
        with (folder / "ballast").open("wb", buffering=0) as ballast:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        ballast.write(b"x" * size)
                except OSError:
                    pass
        # What is left of the segment's last page takes a few lines still.
        answers = [server.predict("rates", {"a": 1.0, "b": 2.0}) for _ in range(60)]
        kept = [id_ for status, _, body in answers if status == 200 for id_ in body["ids"]]
        told["last"] = [answers[-1][0], answers[-1][2].get("error", {}).get("code"), answers[-1][2].get("predictions")]
        status, _, ready = wait_for(503)
        told["ready"] = [status, [problem for problem in ready["problems"] if "prediction log" in problem]]
        told["failed"] = metric("mlops_box_log_failed")
        told["unlogged"] = metric("mlops_box_unlogged_requests_total")
        (folder / "ballast").unlink()
        told["recovered"] = wait_for(200)[0]
        told["failed_after"] = metric("mlops_box_log_failed")
        after = server.predict("rates", {"a": 1.0, "b": 2.0})[2]["ids"]
        assert server.stop() == 0
    box.predictions.seal()
    stored = set(box.predictions.predictions("rates")["id"].to_pylist())
    told["before_and_after_are_stored"] = stored >= {*before, *after}
    told["missing"] = len(set(kept) - stored)
print(json.dumps(told))
"""


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["required", "best-effort"])
def test_a_full_disk_ends_in_what_was_declared_and_passes_by_itself(tmp_path: Path, policy: str) -> None:
    (done,) = on_a_disk_of("24m", tmp_path, [SERVE, str(tmp_path), str(KIT), policy])
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout)
    status, problems = told["ready"]
    assert (status, len(problems)) == (503, 1)
    assert "No space left" in problems[0]
    assert (told["failed"], told["recovered"], told["failed_after"]) == (1.0, 200, 0.0)
    assert told["before_and_after_are_stored"]
    if policy == "required":
        assert told["last"] == [503, "storage", None]
        assert told["unlogged"] == 0
        assert told["missing"] == 0, "no answer without its record"
    else:
        assert told["last"] == [200, None, [3.0]]
        assert told["unlogged"] == told["missing"] > 0, "every answer without a record is counted"
