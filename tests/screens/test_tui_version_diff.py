"""Two versions of a model side by side, key by key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlops_box_tui.screens.version_diff as version_diff
import pytest
from mlops_box_tui.screens.version_diff import VersionDiffScreen


async def test_d_compares_two_marked_versions_and_one_alone_with_the_champion(
    open_app: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []
    compare = version_diff.compare_versions

    def counted(box: Any, *pair: str) -> Any:
        asked.append(pair)
        return compare(box, *pair)

    monkeypatch.setattr(version_diff, "compare_versions", counted)
    async with open_app(home, start="models") as (app, driver):
        await driver.press("enter", "G", "d")
        assert isinstance(app.screen, VersionDiffScreen)
        first = asked[0]
        assert first[0].endswith("@champion")
        seen = driver.shown()
        assert " against " in seen
        assert "mae" in seen
        for words in ("margin", "slices", "data cannot be compared", "answers cannot be compared", "lineage"):
            await driver.press("right_square_bracket")
            assert words in driver.shown()
        app.screen.poll(force=True)
        await driver.settle()
        assert asked == [first]
        await driver.press("escape", "g", "space", "space", "d")
        assert isinstance(app.screen, VersionDiffScreen)
        assert len(asked) == 2
