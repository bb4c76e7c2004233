"""Runs one operation of a box over and over, each time on a fresh copy of a home, failing at point 1, 2, 3 ... until it passes.

Usage: crash_child.py BASE_HOME OUT_FOLDER OPERATION kill|full

A point is a call that changes the disk (open for writing, write, fsync, rename, unlink) or a SQL statement of a write transaction.
``kill``: SIGKILL before the call. ``full``: the call fails with ENOSPC. Writes one JSON line a try on standard output.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet  # noqa: F401  (imported before the fork, used after it)

from mlops_box.box import Box
from mlops_box.db import engine
from mlops_box.errors import BoxError
from mlops_box.models.values import Feature, Signature, VersionDraft
from mlops_box.serving.rollout.states import Transition

SIGNATURE = Signature("regression", "y", (Feature("x", "numeric", "double"),))
BLOB = b"bytes of an object " * 1000


def draft(digest: str, run_id: str) -> VersionDraft:
    return VersionDraft(
        "bikes", "bikes", "regression", True, SIGNATURE, {"model.onnx": digest}, {"mae": 1.0}, (), "s", run_id
    )


def put_bytes(box: Box) -> None:
    box.objects.put_bytes(BLOB, kind="test")


def put_file(box: Box) -> None:
    made = box.home.scratch / "made"
    made.write_bytes(BLOB)
    box.objects.put_file(made, kind="test")


def register(box: Box) -> None:
    """A new model file and the version that names it."""
    digest = box.objects.put_bytes(BLOB, kind="model")
    box.models.register(draft(digest, "run-3"))


def champion(box: Box) -> None:
    box.models.set_champion(box.models.get("bikes@2"), reason="better")


def seal(box: Box) -> None:
    box.predictions.seal()


def rollout(box: Box) -> None:
    """The last transition of a rollout: it moves both aliases."""
    for found in box.rollouts.open("bikes"):
        box.rollouts.move(found, Transition("champion", found.step, "better"))


def row_first(box: Box) -> None:
    """The negative control: a protocol in the wrong order."""
    digest = hashlib.sha256(BLOB).hexdigest()
    with box.db.write() as tx:
        tx.insert("objects", {"digest": digest, "size_bytes": len(BLOB), "kind": "test", "created_at": "now"})
    box.objects.put_bytes(BLOB, kind="test")


OPERATIONS: dict[str, Callable[[Box], None]] = {
    "put_bytes": put_bytes, "put_file": put_file, "register": register, "champion": champion, "seal": seal,
    "rollout": rollout,
    "row_first": row_first,
}  # fmt: skip


class Fault:
    """Counts points from the moment it is armed, and fails at the chosen one."""

    def __init__(self, at: int, mode: str):
        self.at = at
        self.mode = mode
        self.seen = 0
        self.armed = False

    def point(self, *, can_fail: bool) -> None:
        if not self.armed or (self.mode == "full" and not can_fail):
            return
        self.seen += 1
        if self.seen != self.at:
            return
        if self.mode == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(errno.ENOSPC, "No space left on device")

    def install(self) -> None:
        for name in ("open", "write", "fsync", "rename", "replace", "unlink", "mkdir"):
            setattr(os, name, self._wrapped(getattr(os, name), name))
        connect = engine.sqlite.connect

        def traced(*arguments: Any, **options: Any) -> Any:
            connection = connect(*arguments, **options)
            connection.set_trace_callback(self._statement)
            return connection

        engine.sqlite.connect = traced

    def _wrapped(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            reading = name == "open" and not (arguments[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            if not reading:
                # Deleting needs no space.
                self.point(can_fail=name != "unlink")
            return call(*arguments, **options)

        return wrapper

    def _statement(self, sql: str) -> None:
        if not sql.lstrip().upper().startswith(("SELECT", "PRAGMA")):
            self.point(can_fail=False)


def attempt(home: Path, operation: str, fault: Fault) -> int:
    """In a forked child: the exit code 0 passed, 3 a clear error; killed otherwise."""
    fault.install()
    with Box.open(home, actor="tester") as box:
        box.models.models()
        fault.armed = True
        try:
            OPERATIONS[operation](box)
        except BoxError as error:
            fault.armed = False
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            return 3
        fault.armed = False
    return 0


def main() -> None:
    base, out, operation, mode = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    for at in range(1, 500):
        home = out / f"{at:03d}"
        shutil.copytree(base, home)
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = attempt(home, operation, Fault(at, mode))
            finally:
                sys.stderr.flush()
                os._exit(code)
        status = os.waitpid(child, 0)[1]
        killed = os.WIFSIGNALED(status)
        code = None if killed else os.WEXITSTATUS(status)
        sys.stdout.write(json.dumps({"home": str(home), "killed": killed, "code": code}) + "\n")
        if code == 0:
            return
    sys.exit("the operation never passed")


if __name__ == "__main__":
    main()
