"""``mlops-edge verify FILE``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..admission import this_device
from ..install import check
from ..place import Place
from .install import add_overrides, overrides_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="The bundle.")
    add_overrides(parser)


def main(place: Place, options: argparse.Namespace) -> int:
    bundle = check(place, options.file, this_device(), overrides_of(options))
    manifest = bundle.manifest
    facts = {"version": manifest.version, "kind": manifest.kind, "target": manifest.target}
    facts.update(signer=bundle.signer, digest=manifest.digest)
    if options.json:
        print(json.dumps({**facts, "epoch": manifest.epoch}))
    else:
        print(
            f"{manifest.version} ({manifest.kind}, {manifest.target}), signed by {bundle.signer}: this device takes it"
        )
    return 0
