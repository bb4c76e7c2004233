"""The recommender, whole: made, trained, served over HTTP; what a user takes lifts its genre in the next ranking."""

from __future__ import annotations

from pathlib import Path

import pytest
import serving_kit as kit
from example_kit import Example

pytestmark = pytest.mark.slow

USER = 100_000
"""Of whom the training data know nothing."""


def test_a_click_lifts_its_genre_in_the_users_next_ranking(tmp_path: Path) -> None:
    example = Example("recommender", tmp_path)
    example.python("make_data.py", "--users", "150", "--days", "20")
    assert example.box("train", "--direct")["version"] == "recommender@1"
    with kit.running(example.home) as server:
        door = f"http://{server.address.host}:{server.address.port}"

        shown = example.python(
            "recommend.py", door, "--user", str(USER), "--top", "60", "--click", "travel-9"
        )

    before, after = (ranks(part) for part in shown.split("after travel-9"))
    assert len(before) == len(after) == 10
    assert sum(after) < sum(before), shown


def ranks(shown: str) -> list[int]:
    """The places of the travel items in a printed ranking."""
    lines = [line.split() for line in shown.splitlines()]
    return [int(words[0]) for words in lines if len(words) == 3 and words[1].startswith("travel-")]
