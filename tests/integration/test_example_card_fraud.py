"""Card fraud, whole: made, trained, served over HTTP; a burst that is pushed raises the score, and parity holds."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import serving_kit as kit
from example_kit import REPOSITORY, Example, until

pytestmark = pytest.mark.slow

BURST = runpy.run_path(str(REPOSITORY / "examples" / "card_fraud" / "burst.py"))
CARD = 7


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Example:
    example = Example("card_fraud", tmp_path_factory.mktemp("cards"))
    example.python("make_data.py", "--cards", "150", "--days", "20")
    assert example.box("train", "--direct")["version"] == "card-fraud@1"
    example.box("features", "materialize", "--direct")
    return example


@pytest.fixture
def server(trained: Example) -> Iterator[kit.Server]:
    with kit.running(trained.home) as server:
        yield server


def test_a_stolen_cards_burst_raises_the_score_and_what_was_served_is_what_the_events_give(
    trained: Example, server: kit.Server
) -> None:
    door, fraud = BURST["Door"](f"http://{server.address.host}:{server.address.port}"), BURST["fraud"]
    now = datetime.now(UTC)
    amount = BURST["PAYMENT"]["amount"]
    door.push(CARD, [(amount, now - timedelta(hours=2))])
    before: dict[str, Any] = door.score(CARD, now - timedelta(hours=2))
    small = [(paid, now - timedelta(seconds=ago)) for paid, ago in BURST["BURST"]]
    door.push(CARD, [*small, (amount, now)])

    after: dict[str, Any] = until(
        lambda: risen(door.score(CARD, now), than=fraud(before) + 0.3), what="higher score", limit_s=20
    )

    assert seen(before)["card_activity__n_1h"] == 1
    assert seen(after)["card_activity__n_1h"] == len(small) + 1
    assert seen(after)["card_activity__ratio_7d"] > 1
    compared = trained.box("features", "parity", "card-fraud")
    assert (compared["outcome"], compared["broken"]) == ("fine", []), compared
    assert compared["predictions"] >= 2


def risen(answer: dict[str, Any], *, than: float) -> dict[str, Any] | None:
    return answer if BURST["fraud"](answer) > than else None


def seen(answer: dict[str, Any]) -> dict[str, float]:
    """The features that were looked up for an answer's only row."""
    values: dict[str, float] = answer["features"][0]["features"]
    return values


def test_the_same_seed_and_end_write_the_same_files_and_drift_other_ones(tmp_path: Path) -> None:
    example = Example("card_fraud", tmp_path)

    def made(*more: str) -> list[bytes]:
        example.python("make_data.py", "--cards", "20", "--days", "9", "--end", "2026-03-01", *more)
        return [(example.folder / "data" / name).read_bytes() for name in ("tx.csv", "payments.csv")]

    assert made() == made()
    assert made() != made("--drift")
