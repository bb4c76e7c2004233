"""Write data/tx.csv, the events, and data/payments.csv, the same payments as labelled rows. All of it is synthetic.

- Each card has a home price level and pays about three times a day, most of it by day, more on Friday and Saturday.
- Each merchant has one category; a category has a typical amount. Amounts are lognormal.
- One honest day in fifty is a shopping spree: three to six payments within an hour.
- Each night a fraud ring uses two to four stolen cards: two to nine small payments that try the card, minutes apart,
  then one to five large ones. Each of them is labelled fraud.
- ``--drift``: in the last third of the days honest amounts are 1.5 times as high, and thieves take a third of what they took.

The same seed, sizes and end give the same files.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import NamedTuple

# What a category's payment costs, typically.
CATEGORIES = {"grocery": 30.0, "fuel": 50.0, "restaurant": 25.0, "online": 40.0, "electronics": 150.0}
NIGHT, DAY, EVENING = [0.2] * 7, [2.0] * 11, [1.2] * 6
HOURS = NIGHT + DAY + EVENING
WEEK = [1.0, 1.0, 1.0, 1.1, 1.5, 1.6, 0.8]


class Payment(NamedTuple):
    happened_at: datetime
    card_id: int
    merchant_id: int
    category: str
    amount: float
    fraud: bool


class World:
    """Cards and merchants, and how they pay."""

    def __init__(self, cards: int, merchants: int, random: Random):
        self.random = random
        self.levels = [random.lognormvariate(0, 0.4) for _ in range(cards)]
        self.categories = [random.choice(list(CATEGORIES)) for _ in range(merchants)]

    def payment(self, card: int, at: datetime, factor: float) -> Payment:
        """An honest one, ``factor`` times as high as usual."""
        merchant = self.random.randrange(len(self.categories))
        category = self.categories[merchant]
        amount = CATEGORIES[category] * self.levels[card] * self.random.lognormvariate(0, 0.5) * factor
        return Payment(at, card, merchant, category, round(amount, 2), False)

    def honest_day(self, card: int, day: datetime, factor: float) -> Iterator[Payment]:
        for _ in range(self.random.randint(0, round(4 * WEEK[day.weekday()]))):
            hour = self.random.choices(range(24), HOURS)[0]
            at = day + timedelta(hours=hour, seconds=self.random.randrange(3600))
            yield self.payment(card, at, factor)
        if self.random.random() < 0.02:
            for _ in range(self.random.randint(3, 6)):
                yield self.payment(
                    card, day + timedelta(hours=15, seconds=self.random.randrange(3600)), factor
                )

    def ring(self, day: datetime, factor: float) -> Iterator[Payment]:
        """One night of a ring; its large payments are ``factor`` times as high as usual."""
        stolen = self.random.randint(2, 4)
        for card in self.random.sample(range(len(self.levels)), min(stolen, len(self.levels))):
            at = day + timedelta(seconds=self.random.randrange(6 * 3600))
            amounts = [self.random.uniform(0.5, 5) for _ in range(self.random.randint(2, 9))]
            amounts += [self.random.uniform(100, 900) * factor for _ in range(self.random.randint(1, 5))]
            for amount in amounts:
                at += timedelta(seconds=self.random.randint(20, 300))
                merchant = self.random.randrange(len(self.categories))
                yield Payment(at, card, merchant, self.categories[merchant], round(amount, 2), True)


def payments(world: World, end: datetime, days: int, *, drift: bool) -> list[Payment]:
    made: list[Payment] = []
    for number in range(days):
        day, changed = end - timedelta(days=days - number), drift and number >= days * 2 / 3
        for card in range(len(world.levels)):
            made += world.honest_day(card, day, 1.5 if changed else 1.0)
        made += world.ring(day, 1 / 3 if changed else 1.0)
    return sorted(made)


def write(folder: Path, made: list[Payment]) -> None:
    folder.mkdir(exist_ok=True)
    with (folder / "tx.csv").open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["card_id", "merchant_id", "happened_at", "amount"])
        lines.writerows((p.card_id, p.merchant_id, p.happened_at.isoformat(), p.amount) for p in made)
    with (folder / "payments.csv").open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["payment_id", "card_id", "paid_at", "category", "amount", "fraud"])
        lines.writerows(
            (number, p.card_id, p.happened_at.isoformat(), p.category, p.amount, int(p.fraud))
            for number, p in enumerate(made)
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Write synthetic card payments.")
    parser.add_argument("--cards", type=int, default=300)
    parser.add_argument("--merchants", type=int, default=60)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--end", type=datetime.fromisoformat, help="The day after the last one, UTC; today if left out."
    )
    parser.add_argument("--drift", action="store_true", help="The last third of the days differs.")
    given = parser.parse_args()
    end = given.end or datetime.now(UTC).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    world = World(given.cards, given.merchants, Random(given.seed))
    made = payments(world, end, given.days, drift=given.drift)
    write(Path(__file__).parent / "data", made)
    print(f"{len(made)} payments of {given.cards} cards, {sum(p.fraud for p in made)} of them fraud")


if __name__ == "__main__":
    main()
