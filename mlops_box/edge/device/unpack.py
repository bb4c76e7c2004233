"""Layers: the code and the wheels of a bundle, unpacked once under their hash and shared by the slots."""

from __future__ import annotations

import compileall
import contextlib
import ctypes
import os
import py_compile
import re
import shutil
import zipfile
from pathlib import Path

from .archive import VerifiedBundle
from .atomic import hand_over, write_whole
from .elf import HEAD_BYTES, machine_of
from .errors import Refused
from .manifest import LAYERS
from .strict_json import canonical_json

MAX_UNPACKED_BYTES = 1024 * 1024 * 1024
MAX_WHEEL_FILES = 20_000
WHEEL_SITE = "site"
_LIBRARY = re.compile(r"\.so(\.[0-9.]+)?$")


def unpack_runtime(bundle: VerifiedBundle, into: Path) -> None:
    """Write the runtime layer: ``into/mlops_edge``, compiled and synced."""
    scratch = into.with_name(f"{into.name}.bundle")
    bundle.extract(scratch, lambda name: name.startswith(LAYERS["runtime"]))
    into.mkdir()
    (scratch / LAYERS["runtime"]).rename(into / "mlops_edge")
    shutil.rmtree(str(scratch))
    _finish(bundle, "runtime", into)


def unpack_wheels(bundle: VerifiedBundle, into: Path) -> None:
    """Write the layer of wheels: ``into/site``, every library for the right processor; compiled and synced.

    Raises:
        Refused: A wheel is damaged, too large, writes outside, or holds a library for another processor.
    """
    scratch = into.with_name(f"{into.name}.bundle")
    bundle.extract(scratch, lambda name: name.startswith(LAYERS["wheels"]))
    site = into / WHEEL_SITE
    site.mkdir(parents=True)
    left = MAX_UNPACKED_BYTES
    for name in sorted(bundle.manifest.layer_files("wheels")):
        left -= _unpack_wheel(scratch / name, site, left)
    shutil.rmtree(str(scratch))
    check_libraries(site, bundle.manifest.compatible.arch)
    _finish(bundle, "wheels", into)


def check_libraries(folder: Path, arch: str) -> int:
    """How many shared libraries lie under ``folder``; all are for ``arch``.

    Raises:
        Refused: One is for another processor.
    """
    count = 0
    for path in sorted(folder.rglob("*")):
        if path.is_file() and _LIBRARY.search(path.name):
            with path.open("rb") as file:
                machine = machine_of(file.read(HEAD_BYTES))
            if machine != arch:
                raise Refused(f"{path.name} is for {machine}, this device is {arch}", rule="elf.machine")
            count += 1
    return count


def sync_tree(folder: Path) -> None:
    """Make every file and folder under ``folder`` durable, its owner's that ``folder`` lies in, and no longer held in memory.

    One ``syncfs`` first: a thousand small ``fsync`` alone take many seconds on an SD card, after it they find nothing to
    do, but still report what could not be written.

    Raises:
        OSError: Something could not be written.
    """
    descriptor = os.open(str(folder), os.O_RDONLY | os.O_DIRECTORY)
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if library.syncfs(descriptor):
            raise OSError(ctypes.get_errno(), f"{folder} cannot be synced")
    finally:
        os.close(descriptor)
    for path, _, files in os.walk(str(folder), topdown=False):
        for one in [*(os.path.join(path, name) for name in files), path]:
            _settle(one, folder.parent)


def _settle(path: str, like: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        hand_over(descriptor, like)
        os.fsync(descriptor)
        # Pages lie in memory in the large pieces they were written in, and a process that maps a library is given whole
        # pieces: 14 MB more than after the next start of the machine. From here on, what is run is what the disk holds.
        with contextlib.suppress(OSError):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _unpack_wheel(wheel: Path, site: Path, most_bytes: int) -> int:
    total = 0
    try:
        with zipfile.ZipFile(str(wheel)) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if total > most_bytes or len(members) > MAX_WHEEL_FILES:
                raise Refused(f"{wheel.name} is too large when unpacked", rule="wheel.too-large")
            for member in members:
                _unpack_member(archive, member, site)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise Refused(f"{wheel.name} is damaged: {error}", rule="wheel.malformed") from error
    return total


def _unpack_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, site: Path) -> None:
    parts = member.filename.rstrip("/").split("/")
    if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
        raise Refused(f"a wheel would write to {member.filename!r}", rule="wheel.name")
    target = site.joinpath(*parts)
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    left = member.file_size
    # The size of the directory entry binds, whatever the packed stream would give.
    with archive.open(member) as packed, target.open("xb") as file:
        while left:
            block = packed.read(min(left, 1024 * 1024))
            if not block:
                raise Refused(f"{member.filename!r} in a wheel is cut off", rule="wheel.malformed")
            file.write(block)
            left -= len(block)


def _finish(bundle: VerifiedBundle, layer: str, into: Path) -> None:
    """Compile (code of the bundle is read here, not run), note what it was made of, sync."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(str(into), quiet=2, invalidation_mode=mode)
    made_of = {name: fact.sha256 for name, fact in bundle.manifest.layer_files(layer).items()}
    write_whole(into / "layer.json", canonical_json(made_of))
    sync_tree(into)
