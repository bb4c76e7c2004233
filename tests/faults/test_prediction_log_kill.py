"""kill -9 of a real server under load: no prediction that was answered is missing."""

from __future__ import annotations

import http.client
import json
import random
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from serving_kit import Server, register_projects, register_rate, start_server

from mlops_box.box import Box

KILLS = 10


def ask_until_dead(server: Server, acknowledged: list[str]) -> None:
    connection = server.connect()
    body = json.dumps({"rows": [{"a": 1.0, "b": 2.0}, {"a": 2.0, "b": None}]})
    try:
        while True:
            connection.request("POST", "/models/rates/predict", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
            acknowledged.extend(answer["ids"])
    except (OSError, ValueError, http.client.HTTPException):
        return


@pytest.mark.slow
def test_no_acknowledged_prediction_is_missing_after_kills(tmp_path: Path) -> None:
    dice = random.Random(7)
    acknowledged: list[str] = []
    with Box.open(tmp_path / "home", actor="tester") as box:
        register_projects(box)
        register_rate(box)
        for _ in range(KILLS):
            server = start_server(box.home.root)
            clients = [threading.Thread(target=ask_until_dead, args=(server, acknowledged)) for _ in range(3)]
            for client in clients:
                client.start()
            time.sleep(dice.uniform(0.05, 0.5))
            server.kill()
            for client in clients:
                client.join(20)
            if dice.random() < 0.5:
                box.predictions.seal()
        box.predictions.seal()
        stored = box.predictions.predictions("rates")["id"].to_pylist()
        assert len(acknowledged) > 100 * KILLS / 10
        assert len(stored) == len(set(stored))
        assert set(acknowledged) <= set(stored)
        assert box.ledger.first_broken() is None
        assert box.db.read("SELECT COUNT(*) AS n FROM segments WHERE state <> 'sealed'") == [{"n": 0}]
        assert [path.name for path in box.home.predictions.iterdir()] == []
