"""``mlops-edge keys``."""

from __future__ import annotations

import argparse
import json

from ..dsse import key_id
from ..keys import change_keys, load_keys, parse_public
from ..manifest import KeyChanges
from ..place import Place


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trust", action="append", default=[], metavar="HEX", help="Trust a public key.")
    parser.add_argument(
        "--revoke", action="append", default=[], metavar="ID", help="Trust a key no more, for ever."
    )


def main(place: Place, options: argparse.Namespace) -> int:
    keys = load_keys(place)
    if options.trust or options.revoke:
        added = {key_id(public): public for public in map(parse_public, options.trust)}
        keys = change_keys(place, KeyChanges(added, tuple(options.revoke)))
    if options.json:
        trusted = {name: public.hex() for name, public in keys.trusted.items()}
        print(json.dumps({"trusted": trusted, "revoked": list(keys.revoked)}))
        return 0
    for name, public in sorted(keys.trusted.items()):
        print(f"trusted  {name}  {public.hex()}")
    for name in keys.revoked:
        print(f"revoked  {name}")
    return 0
