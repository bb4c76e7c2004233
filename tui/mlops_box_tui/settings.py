"""How the terminal likes it: ``tui.toml`` in the box's home, and the command line."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlops_box.errors import UsageError

FILE = "tui.toml"


@dataclass(frozen=True)
class Settings:
    """Attributes:
    theme: ``dark``, ``light`` or a Textual theme.
    ascii_only: No character beyond ASCII is drawn.
    read_only: Keys that act are greyed, and say why.
    keys: Binding id to keys (``"main.filter" = "f"``).
    sixteen_colours: The terminal has no more; dark and light are made of its own then.
    """

    theme: str = "dark"
    ascii_only: bool = False
    read_only: bool = False
    keys: dict[str, str] = field(default_factory=dict)
    sixteen_colours: bool = False

    def with_file(self, home: Path, *, known_ids: Callable[[], frozenset[str]]) -> Settings:
        """These settings over those of ``tui.toml``.

        Args:
            known_ids: Asked only where the file names keys: to know them all, every screen is imported.

        Raises:
            UsageError: The file is no TOML, or holds what does not exist.
        """
        path = home / FILE
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return self
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: {error}", hint="mend or remove it") from error
        _known(path, raw, ("theme", "ascii", "keys"))
        keys = raw.get("keys", {})
        if not isinstance(keys, dict) or not all(isinstance(value, str) for value in keys.values()):
            raise UsageError(f"{path}: [keys] maps binding ids to keys", hint='[keys]\n"main.filter" = "f"')
        if keys:
            _known(path, keys, sorted(known_ids()))
        return replace(
            self,
            theme=self.theme if self.theme != "dark" else str(raw.get("theme", "dark")),
            ascii_only=self.ascii_only or raw.get("ascii") is True,
            keys={**keys, **self.keys},
        )


def _known(path: Path, given: dict[str, object], known: tuple[str, ...] | list[str]) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise UsageError(
                f"{path}: there is no {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
                hint="docs/tui.md lists every key and its id",
            )
