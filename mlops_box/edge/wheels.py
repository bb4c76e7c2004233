"""Wheels for devices: fetched once by pip, checked against their pins, kept under the box's home.

A cached wheel is hashed again each time it is used. Nothing here knows an index: pip asks the one it is set up for.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from mlops_box.canonical import sha256_hex
from mlops_box.edge.device.elf import HEAD_BYTES, machine_of
from mlops_box.edge.targets import Target, Wheel
from mlops_box.errors import IntegrityError, UnavailableError
from mlops_box.files import write_whole
from mlops_box.progress import Progress, SilentProgress

FETCH_TIMEOUT_S = 600.0
_POLL_S = 0.5
# Target, wheels wanted, folder to put them into, progress.
Fetch = Callable[[Target, list[Wheel], Path, Progress], None]


class WheelCache:
    """The wheels in one folder, by their file names.

    Args:
        folder: Where they lie; made when the first is stored.
        fetch: Gets wheels; pip does, unless a test knows better.
    """

    def __init__(self, folder: Path, fetch: Fetch | None = None):
        self._folder = folder
        self._fetch = fetch or fetch_with_pip

    def holds(self, wheel: Wheel) -> bool:
        """Whether a file of the right size is there; its bytes are checked when they are used."""
        file = self._folder / wheel.file
        return file.is_file() and file.stat().st_size == wheel.size_bytes

    def wheels(self, target: Target, progress: Progress | None = None) -> dict[str, bytes]:
        """File name to bytes of all wheels of a target; those that are missing are fetched first.

        Raises:
            UnavailableError: They are not here and cannot be fetched.
            IntegrityError: What was fetched is for another processor.
        """
        held = {wheel.file: self._read(wheel) for wheel in target.wheels}
        found = {name: data for name, data in held.items() if data is not None}
        missing = [wheel for wheel in target.wheels if wheel.file not in found]
        if missing:
            found |= self._store(target, missing, progress or SilentProgress())
        return found

    def _read(self, wheel: Wheel) -> bytes | None:
        """The bytes, if they are what the pin says; a damaged file counts as missing."""
        try:
            data = (self._folder / wheel.file).read_bytes()
        except FileNotFoundError:
            return None
        return data if sha256_hex(data) == wheel.sha256 else None

    def _store(self, target: Target, missing: list[Wheel], progress: Progress) -> dict[str, bytes]:
        """Fetch wheels, keep them, and give their bytes by file name."""
        stored = {}
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".fetch-") as scratch:
            self._fetch(target, missing, Path(scratch), progress)
            for wheel in missing:
                file = Path(scratch) / wheel.file
                data = file.read_bytes() if file.is_file() else b""
                if sha256_hex(data) != wheel.sha256:
                    raise UnavailableError(
                        f"pip brought no {wheel.file} with the SHA-256 that is pinned ({wheel.sha256[:16]}…)",
                        hint="another index, or a mirror that rebuilds wheels? The pinned files are those of the public index",
                    )
                check_machine(wheel.file, data, target.arch)
                write_whole(self._folder / wheel.file, data)
                stored[wheel.file] = data
        return stored


def check_machine(name: str, data: bytes, arch: str) -> int:
    """How many shared libraries a wheel holds, all of them for ``arch``.

    Raises:
        IntegrityError: One is for another processor, or there is none.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        libraries = [item for item in archive.namelist() if item.endswith(".so") or ".so." in item]
        for library in libraries:
            with archive.open(library) as file:
                machine = machine_of(file.read(HEAD_BYTES))
            if machine != arch:
                raise IntegrityError(f"{name}: {library} is for {machine}, not for {arch}")
    if not libraries:
        raise IntegrityError(f"{name} holds no shared library: it is not the wheel of a compiled package")
    return len(libraries)


def fetch_with_pip(target: Target, wheels: list[Wheel], into: Path, progress: Progress) -> None:
    """Let pip download exactly these wheels; it refuses any other by their hashes.

    Raises:
        UnavailableError: pip is missing, found no such wheel, or took longer than ten minutes.
    """
    names = ", ".join(f"{wheel.name} {wheel.version}" for wheel in wheels)
    pins = into / "wheels.txt"
    pins.write_text(
        "".join(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n" for wheel in wheels)
    )
    command = [
        sys.executable, "-m", "pip", "download", "--only-binary=:all:", "--no-deps", "--require-hashes",
        "--no-input", "--disable-pip-version-check", "--progress-bar=off", "--no-cache-dir",
        *(f"--platform={tag}" for tag in target.platforms),
        f"--python-version={target.python}", "--implementation=cp", f"--abi={target.abi}",
        f"--dest={into}", f"--requirement={pins}",
    ]  # fmt: skip
    total = sum(wheel.size_bytes for wheel in wheels)
    progress.begin(f"fetch {names} for {target.name}", total=total)
    try:
        failed = _run(command, into, progress, total)
    finally:
        progress.end()
    if failed is not None:
        raise UnavailableError(
            f"{names} for {target.name} cannot be fetched: {failed}",
            hint="once, with a network: mlops-box edge export … --target … fills the cache; or copy these files into "
            f"{into.parent}: {', '.join(wheel.file for wheel in wheels)}",
        )


def _run(command: list[str], into: Path, progress: Progress, total: int) -> str | None:
    """Why pip failed, in one line; ``None`` when it did its work.

    What lies in ``into`` is the progress, up to ``total`` bytes: at the end pip copies what it has fetched.
    """

    environment = {**os.environ, "TMPDIR": str(into)}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        told: list[str] = []
        reader = threading.Thread(target=lambda: told.extend(process.stderr or ()), daemon=True)
        reader.start()
        deadline, seen = time.monotonic() + FETCH_TIMEOUT_S, 0
        while process.poll() is None:
            if time.monotonic() > deadline:
                process.kill()
                return f"pip did not end within {FETCH_TIMEOUT_S:.0f} s"
            time.sleep(_POLL_S)
            here = min(_size(into), total)
            if here > seen:
                progress.advance(here - seen)
                seen = here
        reader.join()
    if process.returncode == 0:
        return None
    errors = [line.strip() for line in told if line.startswith("ERROR")] or told[-1:] or ["no word"]
    return errors[-1].removeprefix("ERROR: ")[:300]


def _size(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size if file.is_file() else 0
        except FileNotFoundError:
            continue
    return total
