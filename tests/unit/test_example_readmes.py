"""Nobody can follow a README whose commands do not exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from mlops_box.cli.main import command

EXAMPLES = Path(__file__).parents[2] / "examples"
SYNTHETIC = ("card_fraud", "recommender")
PUBLIC = ("bike_rentals", "digits_torch", "milling_machine")
NAMES = (*PUBLIC, *SYNTHETIC)
WHOLE = ("check", "train", "up", "predict", "feedback", "monitor", "tui", "status", "down")


def commands(name: str) -> list[list[str]]:
    """The words of each mlops-box line in the README's command blocks."""
    text = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    lines = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("mlops-box ")]


def resolved(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the words name, and the words that are left for it."""
    found: click.Command = command
    while isinstance(found, click.Group):
        assert words, "a group alone does nothing"
        step = found.get_command(click.Context(found), words[0])
        assert step is not None, f"no such command: {words[0]}"
        found, words = step, words[1:]
    return found, words


@pytest.mark.parametrize("name", NAMES)
def test_every_command_of_a_readme_exists_with_its_options(name: str) -> None:
    for words in commands(name):
        found, rest = resolved(words)
        known = {option for parameter in found.params for option in parameter.opts}
        given = {word.partition("=")[0] for word in rest if re.match(r"--[a-z]", word)}
        assert given <= known, f"mlops-box {' '.join(words)}"


@pytest.mark.parametrize("name", NAMES)
def test_a_readme_shows_the_whole_loop(name: str) -> None:
    assert set(WHOLE) <= {words[0] for words in commands(name)}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_readme_names_the_public_source_of_its_data(name: str) -> None:
    text = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    assert re.search(r"UCI Machine Learning Repository,? id \d+", text)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_a_readme_says_that_made_up_data_is_made_up(name: str) -> None:
    text = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    assert re.search(r"\*\*Data\.\*\* All synthetic", text)
    assert "does not resemble" in text
