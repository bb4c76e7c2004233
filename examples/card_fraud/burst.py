"""A thief uses a card: one payment is scored, a burst of small ones follows, the same payment is scored again.

Each payment is pushed before it is scored, as in training, where an event counts at its own moment.
"""

from __future__ import annotations

import argparse
import json
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

PAYMENT: dict[str, Any] = {"category": "electronics", "amount": 300.0}
# What tries the card, and how many seconds before the second payment.
BURST = [(1.2, 900), (0.9, 780), (2.5, 600), (1.7, 480), (3.1, 360), (0.8, 240), (2.2, 120)]


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

    def push(self, card: int, payments: list[tuple[float, datetime]]) -> None:
        events = [
            {"card_id": card, "merchant_id": 0, "happened_at": moment.isoformat(), "amount": amount}
            for amount, moment in payments
        ]
        self.post("/features/card_activity", {"events": events})

    def score(self, card: int, moment: datetime) -> dict[str, Any]:
        row = {**PAYMENT, "paid_at": moment.isoformat()}
        body = {"entities": [{"card_id": card}], "rows": [row]}
        return self.post("/models/card-fraud/predict?explain=features", body)


def fraud(answer: dict[str, Any]) -> float:
    """The probability of fraud in an answer about one row."""
    return float(answer["probabilities"][0][1])


def main() -> None:
    parser = argparse.ArgumentParser(description="Push a stolen card's burst, and ask before and after.")
    parser.add_argument("url", help="The box's endpoint, as mlops-box status says it.")
    parser.add_argument("--card", type=int, default=7)
    given = parser.parse_args()
    door, now = Door(given.url), datetime.now(UTC)
    first = now - timedelta(hours=2)
    door.push(given.card, [(PAYMENT["amount"], first)])
    before = door.score(given.card, first)
    start = time.perf_counter()
    burst = [(amount, now - timedelta(seconds=seconds)) for amount, seconds in BURST]
    door.push(given.card, [*burst, (PAYMENT["amount"], now)])
    after = door.score(given.card, now)
    took_ms = (time.perf_counter() - start) * 1000
    for name, answer in (("before", before), ("after", after)):
        values = answer["features"][0]["features"]
        seen = ", ".join(f"{key.partition('__')[2]} {value:.4g}" for key, value in values.items())
        print(f"{name:6}  fraud {fraud(answer):.4f}  {seen}")
    print(f"pushed and asked in {took_ms:.0f} ms")


if __name__ == "__main__":
    main()
