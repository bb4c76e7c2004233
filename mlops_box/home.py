"""Where a box lives on the disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlops_box.errors import StorageError


@dataclass(frozen=True)
class Home:
    """The folders and files of one box; nothing outside ``root`` is ever written."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "box.db"

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    @property
    def predictions(self) -> Path:
        return self.root / "predictions"

    @property
    def features(self) -> Path:
        return self.root / "features"

    @property
    def prefect(self) -> Path:
        return self.root / "prefect"

    @property
    def bentoml(self) -> Path:
        return self.root / "bentoml"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def wheels(self) -> Path:
        """What bundles carry for devices, fetched once; made when first needed, and can be made again."""
        return self.root / "wheels"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def scratch(self) -> Path:
        """Working files of steps under way; emptied at start, never referred to by box.db."""
        return self.root / "scratch"

    def create(self) -> None:
        """Make the folders, mode 0700; idempotent.

        Raises:
            StorageError: The place is not writable, or a file is in the way.
        """
        folders = [
            self.root, self.objects, self.predictions, self.features,
            self.prefect, self.bentoml, self.keys, self.run, self.logs, self.scratch,
        ]  # fmt: skip
        try:
            for folder in folders:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(self.root, os.W_OK):
                raise PermissionError(13, "not writable", str(self.root))
        except OSError as error:
            raise StorageError(
                f"the box's home {self.root} cannot be used: {error.strerror or error}",
                hint="set MLOPS_BOX_HOME (or --home) to a folder that you may write to",
            ) from error


def home_from(environment: Mapping[str, str], *, given: Path | None = None) -> Home:
    """The home named on the command line, else ``MLOPS_BOX_HOME``, else ``~/.mlops-box``."""
    if given is not None:
        return Home(given.expanduser().absolute())
    named = environment.get("MLOPS_BOX_HOME")
    return Home((Path(named) if named else Path("~/.mlops-box")).expanduser().absolute())
