"""Write data/events.csv, what users took, and data/choices.csv, rows of what they took and did not. All synthetic.

- Each user prefers one of six genres (70 % of what is taken), and changes to another one about every ten days.
- Within a genre, item k of ten is taken with weight 1 / (k + 1): few items are popular.
- Each event gives one row taken = 1, two seconds before it, and four rows taken = 0 with items drawn evenly: sampled
  negatives, which a real user may never have seen.

``--events FILE`` takes a CSV file of your own (user,item,genre,time) in place of made-up events. The same seed, sizes
and end give the same files.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import NamedTuple

GENRES = ("comedy", "crime", "drama", "history", "science", "travel")
ITEMS = {f"{genre}-{number}": genre for genre in GENRES for number in range(10)}
NEGATIVES = 4


class Event(NamedTuple):
    user_id: int
    item: str
    genre: str
    happened_at: datetime


def made_up(users: int, days: int, end: datetime, random: Random) -> Iterator[Event]:
    for user in range(users):
        loved = random.choice(GENRES)
        for day in range(days):
            if random.random() < 0.1:
                loved = random.choice(GENRES)
            for _ in range(random.randint(0, 3)):
                genre = loved if random.random() < 0.7 else random.choice(GENRES)
                number = random.choices(range(10), [1 / (k + 1) for k in range(10)])[0]
                at = end - timedelta(days=days - day, seconds=-random.randrange(86_400))
                yield Event(user, f"{genre}-{number}", genre, at)


def read(path: Path) -> Iterator[Event]:
    """A user's own events; a time without a zone is UTC."""
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            if line["genre"] not in GENRES:
                raise SystemExit(
                    f"genre {line['genre']!r} has no column: name your genres in GENRES, in "
                    "features/user_taste.sql and in mlops.toml"
                )
            at = datetime.fromisoformat(line["time"])
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            yield Event(int(line["user"]), line["item"], line["genre"], at)


def choices(events: list[Event], random: Random) -> Iterator[tuple[int, int, datetime, str, str, int]]:
    """Rows (number, user, time, item, genre, taken): each event, and items drawn evenly that it was not."""
    genre_of = {event.item: event.genre for event in events}
    items, number = sorted(genre_of), 0
    for event in events:
        shown_at = event.happened_at - timedelta(seconds=2)
        others = [item for item in random.sample(items, min(NEGATIVES + 1, len(items))) if item != event.item]
        for item in (event.item, *others[:NEGATIVES]):
            yield number, event.user_id, shown_at, item, genre_of[item], int(item == event.item)
            number += 1


def write(path: Path, names: tuple[str, ...], lines: Iterator[tuple[object, ...]] | list[Event]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for line in lines:
            writer.writerow([value.isoformat() if isinstance(value, datetime) else value for value in line])


def main() -> None:
    parser = argparse.ArgumentParser(description="Write data/events.csv and data/choices.csv.")
    parser.add_argument("--events", type=Path, help="Your own CSV file: user,item,genre,time.")
    parser.add_argument("--users", type=int, default=400)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--end", type=datetime.fromisoformat, help="Last day, ISO 8601; today.")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    random = Random(given.seed)
    end = (given.end or datetime.now(UTC)).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)
    found = read(given.events) if given.events else made_up(given.users, given.days, end, random)
    events = sorted(found, key=lambda event: (event.happened_at, event.user_id))
    write(Path("data/events.csv"), Event._fields, events)
    write(
        Path("data/choices.csv"),
        ("choice_id", "user_id", "shown_at", "item", "genre", "taken"),
        choices(events, random),
    )


if __name__ == "__main__":
    main()
