"""A consistent copy of a whole box while it runs. The copy is itself a home: ``mlops-box status --home COPY``.

The order makes it consistent. The database is copied first (SQLite's online backup); every object that the copy names
was whole on the disk before its row was written and is never deleted, so it can be copied afterwards. A prediction
segment that was sealed in between is gone: then the database is copied again, which by now names the sealed Parquet.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlops_box.box import Box
from mlops_box.clock import isoformat
from mlops_box.db import Database
from mlops_box.errors import IntegrityError, StorageError, UsageError
from mlops_box.features.online import FILE as ONLINE_FILE
from mlops_box.files import sync_folder
from mlops_box.home import Home
from mlops_box.operations.verify import BACKUP_FILE, verify
from mlops_box.progress import Progress, SilentProgress

_CHUNK_BYTES = 1 << 20
_ATTEMPTS = 5


@dataclass(frozen=True)
class BackupReport:
    """What was copied. ``head`` is the copy's ledger head; ``keys`` tells whether secrets are in the copy."""

    target: str
    entries: int
    head: str
    objects: int
    segments: int
    size_bytes: int
    keys: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def backup(box: Box, target: Path, *, keys: bool = False, progress: Progress | None = None) -> BackupReport:
    """Copy the box to ``target``, verify the copy, and only then give it its name.

    Args:
        box: The box, which may serve, train and monitor meanwhile.
        target: A folder that does not exist yet, or is empty.
        keys: Also copy the signing key and tokens; the copy must then be kept as secret as they are.
        progress: Told of every object.

    Raises:
        UsageError: ``target`` is in use, or lies inside the home.
        IntegrityError: An object of the box is damaged; the copy is not kept.
        StorageError: The target's disk is full or read-only.
    """
    target = target.expanduser().absolute()
    _check_target(target, box.home)
    progress = progress or SilentProgress()
    partial = target.parent / f".{target.name}.partial-{secrets.token_hex(4)}"
    with _storing(target), _removed_on_failure(partial):
        partial.parent.mkdir(parents=True, exist_ok=True)
        place = Home(partial)
        place.create()
        segments = _copy_state(box, place, progress)
        if keys:
            _copy_folder(box.home.keys, place.keys)
        with Box.open(place, clock=box.clock, actor=box.actor) as copy:
            entries, head = copy.ledger.head()
            _write_note(place, {"made_at": isoformat(box.clock.now()), "entries": entries, "head": head})
            report = verify(copy, progress=progress)
        report.raise_if_broken()
        os.rename(partial, target)
        sync_folder(target.parent)
    box.ledger.record(
        "backup.make", f"backup:{target.name}", {"entries": entries, "head": head, "keys": keys}
    )
    return BackupReport(str(target), entries, head, report.objects, segments, report.size_bytes, keys)


def _check_target(target: Path, home: Home) -> None:
    if target == home.root or home.root in target.parents:
        raise UsageError(f"{target} lies inside the box itself", hint="name a folder elsewhere")
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target} is a file", hint="name a folder that does not exist yet")
    if target.exists() and any(target.iterdir()):
        raise UsageError(f"{target} is not empty", hint="name a folder that does not exist yet")


def _copy_state(box: Box, place: Home, progress: Progress) -> int:
    """Database, objects, open segments; returns the number of segments."""
    for _ in range(_ATTEMPTS):
        _copy_databases(box, place)
        with contextlib.closing(Database(place.database, clock=box.clock)) as copied:
            objects = [row["digest"] for row in copied.read("SELECT digest FROM objects ORDER BY digest")]
            segments = [
                row["path"] for row in copied.read("SELECT path FROM segments WHERE state <> 'sealed'")
            ]
        progress.begin("copy", total=len(objects))
        for digest in objects:
            _copy_object(box.objects.path(digest), place.objects / digest[:2] / digest)
            progress.advance()
        progress.end()
        copied_all = [_copy_segment(box.home, place, path) for path in segments]
        if all(copied_all):
            return len(segments)
    raise IntegrityError(
        f"a prediction segment of {box.home.root} is missing: {segments[copied_all.index(False)]}",
        hint="run mlops-box monitor, then mlops-box verify",
    )


def _copy_databases(box: Box, place: Home) -> None:
    """box.db and, where there is one, the online store, as they were at one moment: pushes wait meanwhile."""
    place.database.unlink(missing_ok=True)
    if not (box.home.features / ONLINE_FILE).exists():
        box.db.backup(place.database)
        return
    target = place.features / ONLINE_FILE
    target.unlink(missing_ok=True)
    box.online.copy(target, meanwhile=lambda: box.db.backup(place.database))


def _copy_object(source: Path, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(mode=0o700, exist_ok=True)
    found = _copy_file(source, target)
    if found != target.name:
        raise IntegrityError(f"object {target.name[:12]} is damaged: {source}", hint="run mlops-box verify")


def _copy_segment(home: Home, place: Home, path: str) -> bool:
    source = home.predictions / path
    if not source.exists():
        return False
    target = place.predictions / source.name
    target.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        _copy_file(source, target)
        return True
    return False


def _copy_folder(source: Path, target: Path) -> None:
    for path in sorted(source.iterdir()):
        if path.is_file() and not path.is_symlink():
            _copy_file(path, target / path.name)


def _copy_file(source: Path, target: Path) -> str:
    """Copy durable, mode 0600; returns the SHA-256 of what was read."""
    digest = hashlib.sha256()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out, source.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


def _write_note(place: Home, note: dict[str, Any]) -> None:
    descriptor = os.open(place.root / BACKUP_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(note, file, indent=2)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _removed_on_failure(partial: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


@contextlib.contextmanager
def _storing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot copy the box to {target}: {error.strerror or error}",
            hint="name a folder on a disk with enough space that you may write to",
        ) from error
