"""Rank all items for one user, in one request; ``--click ITEM`` pushes an event and ranks again."""

from __future__ import annotations

import argparse
import json
import time
import urllib.request
from datetime import UTC, datetime
from typing import Any

from make_data import ITEMS


class Door:
    """A box's HTTP door."""

    def __init__(self, url: str):
        self.url = url

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.url}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            parsed: dict[str, Any] = json.load(answer)
        return parsed

    def ranking(self, user: int) -> list[tuple[str, float]]:
        """(item, probability that the user takes it) of every item, best first."""
        now = datetime.now(UTC).isoformat()
        rows = [{"item": item, "genre": genre, "shown_at": now} for item, genre in ITEMS.items()]
        body = {"entities": [{"user_id": user}] * len(rows), "rows": rows}
        answer = self.post("/models/recommender/predict", body)
        scores = [float(pair[1]) for pair in answer["probabilities"]]
        return sorted(zip(ITEMS, scores, strict=True), key=lambda scored: -scored[1])

    def click(self, user: int, item: str) -> None:
        now = datetime.now(UTC).isoformat()
        event = {"user_id": user, "item": item, "genre": ITEMS[item], "happened_at": now}
        self.post("/features/user_taste", {"events": [event]})


def show(ranking: list[tuple[str, float]], top: int) -> None:
    for place, (item, score) in enumerate(ranking[:top], 1):
        print(f"{place:3}  {item:12} {score:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="The best items for a user.")
    parser.add_argument("url", help="The box's endpoint, as mlops-box status says it.")
    parser.add_argument("--user", type=int, default=7)
    parser.add_argument("--top", type=int, default=5)
    parser.add_argument("--click", choices=list(ITEMS), metavar="ITEM")
    given = parser.parse_args()
    door = Door(given.url)
    show(door.ranking(given.user), given.top)
    if given.click:
        started = time.perf_counter()
        door.click(given.user, given.click)
        ranking = door.ranking(given.user)
        print(f"\nafter {given.click}, {1000 * (time.perf_counter() - started):.0f} ms for push and ranking")
        show(ranking, given.top)


if __name__ == "__main__":
    main()
