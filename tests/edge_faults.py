"""A device's acts, cut off at every point: killed, or with a disk that fails, and then looked at and done again.

A point is a stage of the act (enter, body, leave), or its n-th call that changes the disk (create, write, fsync, rename,
make or remove a folder). The act runs in a forked child; what it left behind is then judged.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlops_box.edge.device.admission import this_device
from mlops_box.edge.device.choice import choose
from mlops_box.edge.device.errors import Refused
from mlops_box.edge.device.install import STAGES, install
from mlops_box.edge.device.keys import load_keys
from mlops_box.edge.device.outcome import confirm, count_attempt, fall_back, roll_back
from mlops_box.edge.device.place import SLOTS, Place
from mlops_box.edge.device.slots import damage, read_slot
from mlops_box.edge.device.stages import Watch, unwatched
from mlops_box.edge.device.state import State, load
from tests.edge_case import OTHER_KEY, OTHER_PUBLIC, Packer, content, make_place, put, put_confirmed

Fault = Literal["kill", "error", "full"]
POINTS = ("enter", "body", "leave")
_NOT_REACHED, _REFUSED, _BROKEN, _SURVIVED = 0, 3, 4, 5
_DISK = ("rename", "fsync", "mkdir", "rmdir", "unlink", "link", "chmod")


@dataclass(frozen=True)
class Act:
    """Something that a device does.

    Attributes:
        start: From which device: ``served`` (v1), ``tried`` (v1 serves, v2 on trial), ``updated`` (v2 serves, v1 before).
        run: Does it, telling the stages.
        done: Whether a state is the one that it leads to.
        stages: Those that it tells.
    """

    name: str
    start: str
    run: Callable[[Place, Watch], object]
    done: Callable[[State], bool]
    stages: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """An act and where it is cut off: at a stage's point, or at the n-th call that changes the disk."""

    act: Act
    fault: Fault
    stage: tuple[str, str] | None = None
    call: int = 0

    @property
    def name(self) -> str:
        where = "/".join(self.stage) if self.stage else f"call {self.call}"
        return f"{self.act.name} {self.fault} at {where}"


def _install(place: Place, watch: Watch) -> object:
    return install(place, place.root.parent / "next.mbx", this_device(), test=lambda *_: [], watch=watch)


ACTS = (
    Act("install", "served", _install, lambda s: bool(s.trial) and s.confirmed == "a", STAGES),
    Act("install over a previous one", "updated", _install, lambda s: bool(s.trial) and s.confirmed == "b", STAGES),
    Act(
        "attempt", "tried", lambda place, watch: count_attempt(place, watch=watch),
        lambda s: s.trial is not None and s.trial.left == 1, ("attempt",),
    ),
    Act("commit", "tried", lambda place, watch: confirm(place, watch=watch), lambda s: s.confirmed == "b", ("commit",)),
    Act(
        "fall back", "tried", lambda place, watch: fall_back(place, "a test", watch=watch),
        lambda s: s.trial is None and len(s.bad) == 1, ("fall-back",),
    ),
    Act(
        "rollback", "updated", lambda place, watch: roll_back(place, watch=watch),
        lambda s: s.confirmed == "a", ("rollback",),
    ),
)  # fmt: skip


def stage_cases() -> Iterator[Case]:
    """Every stage of every act, at enter, body and leave, killed and failing."""
    for act in ACTS:
        for stage in act.stages:
            for point in POINTS:
                for fault in ("kill", "error"):
                    yield Case(act, fault, (stage, point))  # type: ignore[arg-type]


class Devices:
    """Copies of three devices in the states that acts begin from."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        served = make_place(folder / "served").root
        put_confirmed(Place(served), Packer().pack())
        rotated = {"keys": {"add": {OTHER_KEY: OTHER_PUBLIC.hex()}, "revoke": []}}
        second = Packer(number=2, files=content({"other": 1}), manifest=rotated).pack()
        tried = self._copy("served", "tried")
        put(tried, second)
        count_attempt(tried)
        updated = self._copy("tried", "updated")
        confirm(updated)
        other = {**content({"third": 1}), "runtime/mlops_edge/more.py": b"MORE = 1\n"}
        (folder / "work").mkdir()
        (folder / "work" / "next.mbx").write_bytes(Packer(number=3, files=other).pack())

    def _copy(self, start: str, name: str) -> Place:
        # Files are only ever replaced, never written in place: links are as good as copies.
        root = self._folder / name
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self._folder / start, root, copy_function=os.link)
        return Place(root)

    def device(self, start: str) -> Place:
        """A copy of one of the three, to do with what you like (replace files, do not write into them)."""
        return self._copy(start, "work/device")

    def meet(self, case: Case) -> tuple[bool, list[str]]:
        """Cut an act off, judge what is left, do it again, judge the end.

        Returns:
            Whether the point was reached at all, and what is wrong with what it left behind.
        """
        place = self.device(case.act.start)
        before = load(place)
        code = _in_child(lambda: _cut_off(case, place))
        if code == _BROKEN:
            return True, ["it ended with another error than the system's"]
        problems = _judge(place, before)
        if case.act.name.startswith("install") or not case.act.done(load(place)):
            case.act.run(place, unwatched)
        if not case.act.done(load(place)):
            problems.append("done again, it does not lead to its end")
        return code != _NOT_REACHED, problems + _judge(place, before) + _strays(place, case.act)


def _judge(place: Place, before: State) -> list[str]:
    """Every slot that the state names is whole, keys can be read, and a start serves the old or the new version."""
    try:
        state = load(place)
        named = {state.confirmed, state.previous, state.trial.slot if state.trial else None} - {None}
        problems = [wrong for name in sorted(map(str, named)) for wrong in [damage(place, name)] if wrong]
        if not load_keys(place).trusted:
            problems.append("no key is trusted")
        if before.confirmed and state.confirmed is None:
            problems.append("nothing is confirmed any more")
    except Refused as refused:
        return [refused.message]
    return problems


def _strays(place: Place, act: Act) -> list[str]:
    """After the act was done again: no layer that no slot names, none that is missing, nothing in staging."""
    if not act.name.startswith("install"):
        return []
    slots = [slot for slot in (read_slot(place, name) for name in SLOTS) if slot]
    named = {digest for slot in slots for layer, digest in slot.layers.items() if layer != "model"}
    found = {path.name for path in place.layers.iterdir()}
    staged = [path.name for path in place.staging.iterdir()]
    return [f"layers {sorted(named ^ found)} or staged {staged} are left"] if found != named or staged else []


def starts(place: Place) -> str | None:
    """The version that the next start would serve."""
    choice = choose(place, lambda line: None)
    return choice.slot.version if choice else None


def _cut_off(case: Case, place: Place) -> int:
    """Run in the child; the code it ends with when the fault did not end it: not reached, or survived."""
    if case.stage:
        wanted = case.stage

        def watch(stage: str, point: str) -> None:
            if (stage, point) == wanted:
                _strike(case.fault)

        case.act.run(place, watch)
        return _NOT_REACHED
    calls = _failing_disk(case.fault, case.call)
    case.act.run(place, unwatched)
    return _SURVIVED if calls() >= case.call else _NOT_REACHED


def _strike(fault: Fault) -> None:
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    number = errno.EIO if fault == "error" else errno.ENOSPC
    raise OSError(number, os.strerror(number))


def _failing_disk(fault: Fault, call: int) -> Callable[[], int]:
    """From now on the ``call``-th change of the disk fails; with ``full``, every later one that needs space as well.

    Returns:
        How many changes there were.
    """
    count = 0

    def counted(needs_space: bool) -> None:
        nonlocal count
        count += 1
        if count == call or (fault == "full" and count > call and needs_space):
            _strike(fault)

    def wrap(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def failing(*arguments: Any, **more: Any) -> Any:
            counted(name in ("fsync", "mkdir", "link"))
            return function(*arguments, **more)

        return failing

    real_os_open, real_open = os.open, io.open

    def os_open(path: Any, flags: int, *arguments: Any, **more: Any) -> int:
        if flags & (os.O_CREAT | os.O_WRONLY):
            counted(True)
        return real_os_open(path, flags, *arguments, **more)

    def io_open(file: Any, mode: str = "r", *arguments: Any, **more: Any) -> Any:
        if set(mode) & set("wxa+") and not isinstance(file, int):
            counted(True)
        return real_open(file, mode, *arguments, **more)

    for name in _DISK:
        setattr(os, name, wrap(getattr(os, name), name))
    os.open, io.open = os_open, io_open  # type: ignore[assignment]
    return lambda: count


def _in_child(act: Callable[[], int]) -> int:
    """How a forked child ended that runs ``act``: with what it returned, or minus the signal that killed it."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = _BROKEN
        try:
            code = act()
        except OSError:
            code = _REFUSED
        except Exception:  # noqa: BLE001 - a process boundary
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
