"""A real server process over real HTTP."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving_kit import (
    RATE_PROJECT,
    Server,
    register_fails,
    register_projects,
    register_rate,
    running,
    start_server,
)

from mlops_box.box import Box
from mlops_box.home import Home
from mlops_box.serving.access import is_loopback
from mlops_box.serving.address import ServerAddress
from mlops_box.serving.records import is_prediction_id


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Box, Server]]:
    """One server for the tests that change nothing."""
    home = tmp_path_factory.mktemp("served") / "home"
    with Box.open(home, actor="tester") as box:
        register_projects(box)
        register_rate(box, 1.0, 1.0)
        register_rate(box, 2.0, 2.0)
        register_fails(box)
        with running(home) as server:
            yield box, server


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Box]:
    with Box.open(tmp_path / "home", actor="tester") as box:
        register_projects(box)
        register_rate(box, 1.0, 1.0)
        yield box


def test_a_regression_answer_names_version_and_ids(served: tuple[Box, Server]) -> None:
    status, headers, body = served[1].predict("rates", {"a": 1, "b": 2}, {"a": 4, "b": None})
    assert status == 200
    assert body["model"] == "rates@2"
    assert body["predictions"] == [6.0, 8.0]
    assert len(set(body["ids"])) == 2
    assert all(is_prediction_id(id_) for id_ in body["ids"])
    assert headers["x-model-version"] == "2"
    assert headers["x-request-id"]


def test_a_classifier_answers_classes_in_their_type_and_probabilities(served: tuple[Box, Server]) -> None:
    _, _, body = served[1].predict("mill", {"heat": 12.0, "kind": "m"}, {"heat": 3.0, "kind": "l"})
    assert body["predictions"] == [True, False]
    assert body["classes"] == [False, True]
    assert all(abs(sum(row) - 1) < 1e-5 for row in body["probabilities"])


def test_an_older_version_answers_by_its_number(served: tuple[Box, Server]) -> None:
    _, headers, body = served[1].predict("rates@1", {"a": 1, "b": 2})
    assert body["model"] == "rates@1"
    assert body["predictions"] == [3.0]
    assert headers["x-model-version"] == "1"
    assert served[1].predict("rates@last_good", {"a": 1, "b": 2})[2]["model"] == "rates@1"


def test_the_request_id_is_kept_and_a_wild_one_is_replaced(served: tuple[Box, Server]) -> None:
    def returned(id_: str) -> str:
        found = served[1].call("GET", "/livez", headers={"X-Request-ID": id_})
        return found[1]["x-request-id"]

    assert returned("order-17") == "order-17"
    assert returned("a b<script>") != "a b<script>"


def test_health_models_metrics_and_openapi_tell_the_truth(served: tuple[Box, Server]) -> None:
    _, server = served
    assert server.call("GET", "/livez")[0] == 200
    status, _, ready = server.call("GET", "/readyz")
    assert (status, ready["ready"], ready["problems"]) == (200, True, [])
    assert {model["model"]: model["serving"] for model in server.call("GET", "/models")[2]["models"]} == {
        "mill": 1,
        "rates": 2,
    }
    described = server.call("GET", "/models/rates")[2]
    assert [feature["name"] for feature in described["features"]] == ["a", "b"]
    server.predict("rates", {"a": 1, "b": 2})
    metrics = server.call("GET", "/metrics")[2]
    assert 'mlops_box_requests_total{model="rates",outcome="ok",variant="champion",version="2"}' in metrics
    document = server.call("GET", "/docs.json")[2]
    assert document["openapi"].startswith("3.")
    assert "post" in document["paths"]["/models/{name}/predict"]
    assert "/predict" in document["paths"]


def test_the_declared_bentoml_route_answers_alike(served: tuple[Box, Server]) -> None:
    body = {"model": "rates", "rows": [{"a": 1, "b": 2}]}
    status, _, answer = served[1].call("POST", "/predict", body)
    assert (status, answer["predictions"]) == (200, [6.0])


BIG = json.dumps({"rows": [{"a": 1.0, "b": 2.0}] * 400_000}).encode()
BAD_REQUESTS: list[tuple[str, str, str, Any, dict[str, str], int, str]] = [
    ("unknown model", "POST", "/models/nope/predict", {"rows": [{"a": 1}]}, {}, 404, "not_found"),
    ("unknown version", "POST", "/models/rates@99/predict", {"rows": [{"a": 1}]}, {}, 404, "not_found"),
    ("name that is none", "POST", "/models/RATES!/predict", {"rows": [{"a": 1}]}, {}, 404, "not_found"),
    ("traversal", "POST", "/models/../predict", {"rows": [{"a": 1}]}, {}, 404, "not_found"),
    ("encoded traversal", "POST", "/models/..%2f..%2fbox.db/predict", {"rows": []}, {}, 404, "not_found"),
    ("nul in the name", "POST", "/models/rates%00/predict", {"rows": []}, {}, 404, "not_found"),
    ("unknown path", "GET", "/etc/passwd", None, {}, 404, "not_found"),
    ("static traversal", "GET", "/static_content/..%2f..%2fapp.py", None, {}, 404, ""),
    ("wrong method", "GET", "/models/rates/predict", None, {}, 405, "method"),
    ("delete", "DELETE", "/models/rates", None, {}, 405, "method"),
    ("no json", "POST", "/models/rates/predict", b"{rows", {}, 400, "malformed"),
    ("nan", "POST", "/models/rates/predict", b'{"rows":[{"a":NaN}]}', {}, 400, "malformed"),
    ("deep", "POST", "/models/rates/predict", b"[" * 100_000, {}, 400, "malformed"),
    ("not utf-8", "POST", "/models/rates/predict", b'{"rows":[{"a":"\xff"}]}', {}, 400, "malformed"),
    ("empty body", "POST", "/models/rates/predict", b"", {}, 400, "malformed"),
    ("no rows", "POST", "/models/rates/predict", {"rows": []}, {}, 422, "usage"),
    ("too many rows", "POST", "/models/rates/predict", {"rows": [{"a": 1}] * 2000}, {}, 422, "usage"),
    ("misspelt key", "POST", "/models/rates/predict", {"row": [{"a": 1}]}, {}, 422, "usage"),
    ("bad row", "POST", "/models/rates/predict", {"rows": [{"a": 1000, "b": 1}]}, {}, 422, "contract"),
    ("unknown column", "POST", "/models/rates/predict", {"rows": [{"a": 1, "z": 1}]}, {}, 422, "contract"),
    ("missing feature", "POST", "/models/rates/predict", {"rows": [{"b": 1}]}, {}, 422, "contract"),
    ("text for a number", "POST", "/models/rates/predict", {"rows": [{"a": "1"}]}, {}, 422, "contract"),
    ("huge number", "POST", "/models/rates/predict", b'{"rows":[{"a":1e999}]}', {}, 400, "malformed"),
    ("row that is a list", "POST", "/models/rates/predict", {"rows": [[1, 2]]}, {}, 422, "contract"),
    ("huge body", "POST", "/models/rates/predict", BIG, {}, 413, "too_large"),
    ("plain text", "POST", "/models/rates/predict", b"{}", {"Content-Type": "text/plain"}, 415, "content_type"),
    ("pickle", "POST", "/predict", b"\x80", {"Content-Type": "application/vnd.bentoml+pickle"}, 415, "content_type"),
    ("foreign host", "GET", "/models", None, {"Host": "evil.com"}, 421, "host"),
    ("foreign host, docs", "GET", "/docs.json", None, {"Host": "evil.com"}, 421, "host"),
    ("foreign page", "POST", "/models/rates/predict", {"rows": []}, {"Origin": "http://evil.com"}, 403, "origin"),
    ("truth without id", "POST", "/models/rates/feedback", {"truth": [{"value": 1}]}, {}, 422, "contract"),
    ("truth, wrong id", "POST", "/models/rates/feedback", {"truth": [{"id": "1", "value": 1}]}, {}, 422, "contract"),
    ("no truth", "POST", "/models/rates/feedback", {"truth": []}, {}, 422, "usage"),
]  # fmt: skip


@pytest.mark.parametrize("case", BAD_REQUESTS, ids=[case[0] for case in BAD_REQUESTS])
def test_a_bad_request_gets_one_clear_error_and_changes_nothing(
    served: tuple[Box, Server], case: tuple[str, str, str, Any, dict[str, str], int, str]
) -> None:
    _, method, path, body, headers, status, code = case
    box, server = served
    segment = box.home.predictions / str(box.db.read("SELECT path FROM segments")[0]["path"])
    before = (box.ledger.head(), segment.stat().st_size)
    found, _, answer = server.call(method, path, body, headers)
    assert found == status
    if code:
        assert set(answer) == {"error"}
        assert set(answer["error"]) == {"code", "message", "hint", "details"}
        assert answer["error"]["code"] == code
    assert (box.ledger.head(), segment.stat().st_size) == before
    assert server.call("GET", "/livez")[0] == 200


def test_a_contract_violation_names_row_column_and_rule(served: tuple[Box, Server]) -> None:
    _, _, body = served[1].predict("rates", {"a": 1, "b": 2}, {"a": -1, "b": 2})
    assert body["error"]["details"] == [
        {"row": 1, "column": "a", "rule": "a.min", "message": "a: -1 is below 0.0"}
    ]


def test_an_unannounced_body_is_counted_while_it_comes(served: tuple[Box, Server]) -> None:
    address = served[1].address
    with socket.create_connection((address.host, address.port), timeout=20) as raw:
        head = "POST /models/rates/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        raw.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        try:
            for _ in range(40):
                raw.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert b" 413 " in raw.recv(4096)


def test_nothing_listens_beyond_the_loopback(served: tuple[Box, Server]) -> None:
    import psutil

    connections = psutil.Process(served[1].process.pid).net_connections("inet")
    listening = [item.laddr.ip for item in connections if item.status == psutil.CONN_LISTEN]
    assert len(listening) == 2, "HTTP and gRPC"
    assert all(is_loopback(address) for address in listening), listening


def test_bad_rows_do_not_disturb_their_neighbours(served: tuple[Box, Server]) -> None:
    _, server = served

    def ask(number: int) -> bool:
        connection = server.connect()
        headers = {"Content-Type": "application/json"}
        right = True
        for turn in range(40):
            is_bad = (number + turn) % 3 == 0
            row = {"a": -1.0 if is_bad else float(number), "b": float(turn)}
            connection.request("POST", "/models/rates/predict", json.dumps({"rows": [row]}), headers)
            response = connection.getresponse()
            body = json.loads(response.read())
            expected = 422 if is_bad else 200
            right &= response.status == expected
            right &= is_bad or body["predictions"] == [2.0 * (number + turn)]
        connection.close()
        return right

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))


class Load:
    """Clients that ask without pause and remember every answer."""

    def __init__(self, server: Server, clients: int = 4):
        self._server = server
        self._stop = threading.Event()
        self.answers: list[tuple[float, int, str]] = []
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        connection = self._server.connect()
        body = json.dumps({"rows": [{"a": 1.0, "b": 1.0}]})
        while not self._stop.is_set():
            try:
                connection.request(
                    "POST", "/models/rates/predict", body, {"Content-Type": "application/json"}
                )
                response = connection.getresponse()
                answer = json.loads(response.read())
                number = int(answer["model"].partition("@")[2])
                if answer["predictions"] != [2.0 * number]:
                    self.failures.append(f"mixed answer {answer}")
                self.answers.append((time.monotonic(), number, answer["ids"][0]))
            except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                return


def test_promotions_under_load_are_live_within_a_second_without_a_failed_request(own: Box) -> None:
    promoted: dict[int, float] = {}
    with running(own.home.root) as server, Load(server) as load:
        time.sleep(0.3)
        for number in range(2, 6):
            version = register_rate(own, float(number), float(number), promote=False)
            own.models.set_champion(version, reason="test")
            promoted[number] = time.monotonic()
            time.sleep(0.5)
        own.models.roll_back("rates", reason="test")
        undone = time.monotonic()
        time.sleep(0.5)
        status = server.call("GET", "/readyz")[0]
    assert load.failures == []
    assert status == 200
    for number, moment in promoted.items():
        first = min(at for at, answered, _ in load.answers if answered == number)
        assert first - moment < 1.0
    assert min(at for at, answered, _ in load.answers if answered == 4 and at > undone) - undone < 1.0
    assert len({id_ for _, _, id_ in load.answers}) == len(load.answers)


def test_a_version_that_fails_its_golden_rows_is_refused_and_the_old_one_goes_on(own: Box) -> None:
    with running(own.home.root) as server, Load(server, clients=1) as load:
        register_rate(own, 9.0, 9.0, wrong=True)
        deadline = time.monotonic() + 5
        while server.call("GET", "/readyz")[0] == 200 and time.monotonic() < deadline:
            time.sleep(0.05)
        status, _, ready = server.call("GET", "/readyz")
        assert status == 503
        assert "golden" in ready["problems"][0]
        assert ready["models"] == [
            {"model": "rates", "champion": 2, "serving": 1, "problem": ready["models"][0]["problem"]}
        ]
        register_rate(own, 3.0, 3.0)
        while server.call("GET", "/readyz")[0] != 200 and time.monotonic() < deadline + 5:
            time.sleep(0.05)
        assert server.predict("rates", {"a": 1, "b": 1})[2]["model"] == "rates@3"
        (told,) = server.call("GET", "/models")[2]["models"]
    # Golden rows (1, 2) and (3, missing): 3 and 3 became 9 and 9.
    swap = {name: told["last_swap"][name] for name in ("before", "after", "rows", "changed", "largest")}
    assert swap == {"before": 1, "after": 3, "rows": 2, "changed": 2, "largest": 6.0}
    assert load.failures == []
    assert {number for _, number, _ in load.answers} <= {1, 3}


def test_a_changed_contract_counts_without_a_restart(own: Box) -> None:
    with running(own.home.root) as server:
        assert server.predict("rates", {"a": 90, "b": 1})[0] == 200
        register_projects(own, rates=RATE_PROJECT.replace("max = 100", "max = 50"))
        deadline = time.monotonic() + 5
        while server.predict("rates", {"a": 90, "b": 1})[0] == 200 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert server.predict("rates", {"a": 90, "b": 1})[2]["error"]["details"][0]["rule"] == "a.max"


def test_a_slow_model_keeps_the_server_answering(own: Box) -> None:
    register_rate(own, 1.0, 1.0, busy=2048)
    with running(own.home.root) as server, Load(server, clients=6) as load:
        time.sleep(0.3)
        started = time.monotonic()
        assert server.call("GET", "/livez")[0] == 200
        assert time.monotonic() - started < 2
        time.sleep(0.7)
    assert [failure for failure in load.failures if "mixed" not in failure] == []
    assert load.answers


def test_sigterm_finishes_what_is_under_way_and_withdraws_the_address(own: Box) -> None:
    with running(own.home.root) as server:
        with Load(server, clients=2) as load:
            time.sleep(0.3)
            load._stop.set()
        assert server.stop() == 0
    assert load.failures == []
    assert ServerAddress.read(own.home.run) is None
    assert own.db.read("SELECT state FROM segments") == [{"state": "closed"}]
    assert list(own.home.run.glob("prometheus-*")) == []
    own.predictions.seal()
    assert own.predictions.predictions("rates").num_rows == len(load.answers)


def test_a_taken_port_and_a_second_server_are_refused_with_exit_code_5(own: Box, tmp_path: Path) -> None:
    import subprocess
    import sys

    def start(home: Path, port: int, host: str = "127.0.0.1") -> tuple[int, dict[str, Any]]:
        command = [
            sys.executable,
            "-m",
            "mlops_box_services",
            "--home",
            str(home),
            "--port",
            str(port),
            "--host",
            host,
        ]
        from serving_kit import environment

        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment())
        return done.returncode, json.loads(done.stderr.strip().splitlines()[-1])["error"]

    with running(own.home.root) as server:
        code, error = start(tmp_path / "other", server.address.port)
        assert (code, error["code"]) == (5, "busy")
        code, error = start(own.home.root, 0)
        assert code == 5
        assert "served already" in error["message"]
        assert start(tmp_path / "other", 0, "0.0.0.0")[0] == 2
        assert server.call("GET", "/livez")[0] == 200


def test_ground_truth_arrives_in_the_log(own: Box) -> None:
    with running(own.home.root) as server:
        ids = server.predict("rates", {"a": 1, "b": 2}, {"a": 2, "b": 2})[2]["ids"]
        truth = [{"id": ids[0], "value": 3.5}, {"id": ids[0], "value": 4}]
        assert server.call("POST", "/models/rates/feedback", {"truth": truth})[2] == {
            "model": "rates",
            "stored": 2,
        }
        assert own.predictions.request_rotation(timeout_s=5)
        own.predictions.seal()
    assert [(row["id"], row["truth_number"]) for row in own.predictions.truth("rates").to_pylist()] == [
        (ids[0], 4.0)
    ]


def test_an_empty_box_serves_and_takes_its_first_champion_up(tmp_path: Path) -> None:
    with Box.open(Home(tmp_path / "home"), actor="tester") as box, running(box.home.root) as server:
        assert server.call("GET", "/readyz")[2] == {"ready": True, "models": [], "problems": []}
        register_projects(box)
        register_rate(box)
        deadline = time.monotonic() + 5
        while server.predict("rates", {"a": 1, "b": 1})[0] == 404 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert server.predict("rates", {"a": 1, "b": 1})[0] == 200


def test_a_server_starts_again_after_kill_9(own: Box) -> None:
    server = start_server(own.home.root)
    server.kill()
    with running(own.home.root) as again:
        assert again.predict("rates", {"a": 1, "b": 1})[0] == 200
