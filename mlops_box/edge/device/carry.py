"""Batches as files, for a stick or a folder that somebody carries."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from .atomic import write_whole
from .errors import Refused
from .outgoing import Made, Outgoing

SUFFIX = ".mbs"


def write_batches(outgoing: Outgoing, folder: Path) -> list[Path]:
    """Write everything that is not acknowledged, each batch beside its checksum in the form of ``sha256sum -c``.

    A file is there whole or not at all, and was read back before this returns.

    Raises:
        Refused: The folder is none, or what was read back is not what was written.
        OSError: It cannot be written.
    """
    if not folder.is_dir():
        raise Refused(f"{folder} is no folder", hint="is the stick mounted?", rule="sync.folder")
    return [_write(made, folder) for made in outgoing.all()]


def remove_acknowledged(outgoing: Outgoing, folder: Path) -> None:
    """Remove batches from the device's own outbox that are not to be sent any more."""
    wanted = {made.name for made in outgoing.all()}
    for file in folder.glob(f"*{SUFFIX}"):
        if file.name not in wanted:
            for stale in (file, _checksum_of(file)):
                with contextlib.suppress(FileNotFoundError):
                    stale.unlink()


def _write(made: Made, folder: Path) -> Path:
    file = folder / made.name
    write_whole(file, made.envelope)
    if file.read_bytes() != made.envelope:
        raise Refused(
            f"{file} does not read back as it was written", hint="try another stick", rule="sync.copy"
        )
    checksum = hashlib.sha256(made.envelope).hexdigest()
    write_whole(_checksum_of(file), f"{checksum}  {file.name}\n".encode())
    return file


def _checksum_of(file: Path) -> Path:
    return file.with_name(file.name + ".sha256")
