"""Installing a bundle: verify, stage, test, place, arm. Until the last step the device serves what it served.

Every stage may be cut off anywhere, also by the power, and the whole may be done again: staging is emptied first, layers
are named by their content, the free slot is one that nothing names, and one rename of ``state.json`` arms the trial.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

from .admission import Device, Overrides, admit, check_keys, check_layers
from .archive import VerifiedBundle, open_verified
from .atomic import locked, move, write_new
from .errors import Refused
from .golden import GoldenTest, golden_test
from .history import Clock, act
from .keys import load_keys
from .launch import Runtime
from .manifest import Manifest
from .place import Place
from .slots import Slot, read_slot, remove_strays
from .stages import Watch, stage, unwatched
from .state import State, armed, change, emptied, load
from .unpack import sync_tree, unpack_runtime, unpack_wheels

STAGES = ("verify", "stage", "layers", "golden", "place", "arm")


@dataclass(frozen=True)
class Installed:
    """What came of it: ``already`` when the very bundle was there before and nothing was done."""

    version: str
    slot: str
    already: bool = False


def check(place: Place, path: Path, device: Device, overrides: Overrides | None = None) -> VerifiedBundle:
    """Verify a bundle and whether this device may take it; nothing is written.

    Raises:
        Refused: It is not whole, not signed by a trusted key, or not for this device.
    """
    keys = load_keys(place)
    bundle = open_verified(path, keys.trusted, keys.revoked)
    admit(bundle.manifest, device, load(place), overrides or Overrides())
    check_layers(bundle.manifest, place)
    check_keys(bundle.manifest, keys)
    return bundle


def install(
    place: Place,
    path: Path,
    device: Device,
    *,
    overrides: Overrides | None = None,
    test: GoldenTest = golden_test,
    watch: Watch = unwatched,
    clock: Clock = time.time,
) -> Installed:
    """Put a bundle on trial in the free slot.

    Args:
        overrides: Reasons to take a version that is marked bad, or of an old epoch.
        test: What runs the golden rows.

    Raises:
        Refused: It may not be taken, or failed its golden test; nothing was changed but ``staging/``.
        OSError: The disk failed; what serves is untouched.
    """
    chosen = overrides or Overrides()
    with _alone(place.require()):
        with stage("verify", watch):
            bundle = check(place, path, device, chosen)
            watch("verify", "body")
        manifest = bundle.manifest
        there = _already(place, manifest)
        if there:
            remove_strays(place)
            return Installed(manifest.version, there, already=True)
        state = _no_trial(load(place))
        remove_strays(place)
        with stage("stage", watch):
            slot = _stage_slot(place, bundle, watch)
        with stage("layers", watch):
            runtime = _stage_layers(place, bundle, watch)
        with stage("golden", watch):
            watch("golden", "body")
            _prove(slot, runtime, manifest, test)
        with stage("place", watch):
            _place(place, slot, runtime, state, watch)
        with stage("arm", watch):
            why = "; ".join(reason for reason in (chosen.again, chosen.old_epoch) if reason)
            watch("arm", "body")
            new = change(place, armed, act("install", manifest.version, why, clock))
        remove_strays(place)
        assert new.trial is not None
        return Installed(manifest.version, new.trial.slot)


@contextlib.contextmanager
def _alone(place: Place) -> Iterator[None]:
    try:
        with locked(place.install_lock, wait=False):
            yield
    except BlockingIOError:
        raise Refused("another install is running", hint="wait for it", rule="install.busy") from None


def _already(place: Place, manifest: Manifest) -> str | None:
    state = load(place)
    for name in (state.confirmed, state.trial.slot if state.trial else None):
        slot = read_slot(place, name) if name else None
        if name and slot and slot.manifest_digest == manifest.digest:
            return name
    return None


def _no_trial(state: State) -> State:
    if state.trial:
        raise Refused(
            f"a version is on trial in slot {state.trial.slot}",
            hint="wait until it is confirmed, or call it off: mlops-edge rollback",
            rule="install.trial",
        )
    return state


def _stage_slot(place: Place, bundle: VerifiedBundle, watch: Watch) -> Path:
    slot = place.staging / "slot"
    bundle.extract(slot / "bundle", lambda name: not name.startswith("runtime/"))
    watch("stage", "body")
    write_new(slot / "slot.json", Slot.of(bundle.manifest, bundle.signer).to_bytes())
    sync_tree(slot)
    return slot


def _stage_layers(place: Place, bundle: VerifiedBundle, watch: Watch) -> Runtime:
    """Where the layers are: already under ``layers/``, or unpacked in staging."""
    runtime, wheels = (_layer(place, bundle.manifest.layers[name]) for name in ("runtime", "wheels"))
    if runtime.parent == place.staging:
        unpack_runtime(bundle, runtime)
    watch("layers", "body")
    if wheels.parent == place.staging:
        unpack_wheels(bundle, wheels)
    return Runtime(runtime, wheels)


def _layer(place: Place, digest: str) -> Path:
    there = place.layer(digest)
    return there if there.is_dir() else place.staging / digest


def _prove(slot: Path, runtime: Runtime, manifest: Manifest, test: GoldenTest) -> None:
    problems = test(slot, runtime, manifest.limits)
    if problems:
        raise Refused(
            f"{manifest.version} failed its golden test: {'; '.join(problems[:3])}",
            hint="the device answers otherwise than the box did: nothing was installed",
            rule="golden",
        )


def _place(place: Place, slot: Path, runtime: Runtime, state: State, watch: Watch) -> None:
    for layer in {runtime.runtime, runtime.wheels}:
        if layer.parent == place.staging:
            move(layer, place.layer(layer.name))
    if state.previous:
        change(place, emptied)
    target = place.slot(state.free)
    if target.exists():
        move(target, place.staging / "replaced")
    watch("place", "body")
    move(slot, target)
