"""``mlops-edge init``: a folder, a key of the device's own, the agent's code, and whose bundles it takes."""

from __future__ import annotations

import argparse
import json
import re
import secrets
import shutil
import socket
from pathlib import Path

from .. import ed25519
from ..atomic import locked, move, write_whole
from ..boot import device_facts
from ..dsse import key_id
from ..errors import Refused
from ..keys import Keys, change_keys, parse_public, save_keys
from ..manifest import KeyChanges
from ..place import Place
from ..strict_json import canonical_json
from ..unpack import sync_tree

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_LAUNCHER = """#!/bin/sh
MLOPS_EDGE_HOME='{root}' PYTHONPATH='{agent}' PYTHONDONTWRITEBYTECODE=1 exec python3 -s -m mlops_edge "$@"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trust", required=True, metavar="HEX", help="The box's public key: mlops-box edge keys show."
    )
    parser.add_argument("--name", help="The device's name (else the host's).")


def main(place: Place, options: argparse.Namespace) -> int:
    """Make what is missing; the agent's code is replaced by this one, keys and name stay unless given anew."""
    public = parse_public(options.trust)
    if "'" in str(place.root) or not place.root.is_absolute():
        raise Refused(
            f"{place.root} cannot be a device folder", hint="an absolute path without quotes", rule="place"
        )
    for folder in (place.root, *place.folders()):
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    with locked(place.install_lock):
        name = _name_device(place, options.name)
        _make_key(place)
        _copy_agent(place)
        _trust(place, public)
    facts = {
        "device": name,
        "root": str(place.root),
        "public_key": _public(place).hex(),
        "trusted": key_id(public),
    }
    if options.json:
        print(json.dumps(facts))
    else:
        print(f"device {name} at {place.root}: it takes bundles signed by {facts['trusted']}")
        print(f"its own key, for the box: mlops-box edge devices add {name} {facts['public_key']}")
    return 0


def _name_device(place: Place, wanted: str) -> str:
    facts = device_facts(place)
    name = wanted or facts.get("name") or re.sub(r"[^a-z0-9._-]", "-", socket.gethostname().lower())
    if not _NAME.fullmatch(str(name)):
        raise Refused(
            f"{name!r} cannot be a device's name", hint="a-z, 0-9, . _ -: --name pump-7", rule="device.name"
        )
    if facts.get("name") != name:
        write_whole(place.device, canonical_json({"boot_counter": 0, **facts, "name": name}))
    return str(name)


def _make_key(place: Place) -> None:
    if not place.device_key.exists():
        write_whole(place.device_key, secrets.token_bytes(32), private=True)


def _public(place: Place) -> bytes:
    return ed25519.public_key(place.device_key.read_bytes())


def _copy_agent(place: Place) -> None:
    """The package that runs now becomes the device's agent, in one rename."""
    source, target = Path(__file__).resolve().parents[1], place.agent / "mlops_edge"
    if source != target.resolve():
        fresh, old = place.staging / "agent", place.staging / "agent-before"
        for stale in (fresh, old):
            shutil.rmtree(str(stale), ignore_errors=True)
        shutil.copytree(str(source), str(fresh), ignore=shutil.ignore_patterns("__pycache__"))
        sync_tree(fresh)
        if target.exists():
            move(target, old)
        move(fresh, target)
        shutil.rmtree(str(old), ignore_errors=True)
    write_whole(place.launcher, _LAUNCHER.format(root=place.root, agent=place.agent).encode())
    place.launcher.chmod(0o755)


def _trust(place: Place, public: bytes) -> None:
    if place.keys.exists():
        change_keys(place, KeyChanges({key_id(public): public}, ()))
    else:
        save_keys(place, Keys({key_id(public): public}))
